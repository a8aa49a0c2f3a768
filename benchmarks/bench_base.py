# pyright: basic
# The peers are only partly typed.
"""qicore.base against `result`, `returns`, `expression`, `safe-result` and hand-written code, in one run.

`returns` and `expression` make immutable results as qicore does; `result`, `safe-result` and the bare class
with `__slots__` don't, and stand here to show what immutability costs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import expression
import result as rustedpy
import returns.result as dry
import safe_result as safe
from expression.extra.result import catch
from harness import Suite
from qicore.base import ErrorCategory, Failure, QiError, Result, Success, as_result


class Slots:
    """The floor of what a class of our own could cost: mutable, no laws, no operations."""

    __slots__ = ("data",)

    def __init__(self, data: object) -> None:
        self.data = data


ERROR = QiError.validation("ODD", "it is odd")
EXCEPTION = ValueError("it is odd")


def successor(number: int) -> int:
    return number + 1


def steps(method: str, first: object, step: Callable[[int], object]) -> Callable[[], object]:
    """Return a function that applies `step` ten times, written out as a user would write it."""
    source = "lambda: first" + f".{method}(step)" * 10
    return eval(source, {"first": first, "step": step})  # type: ignore[no-any-return]


def repeated(source: str, **names: object) -> Callable[[], object]:
    """Return a function that evaluates `source` fifty times, so that its own call weighs nothing."""
    body = "\n".join([f"    {source}"] * 50)
    scope = dict(names)
    exec(f"def fifty():\n{body}", scope)
    return scope["fifty"]  # type: ignore[return-value]  # just made


def plain_ten() -> int:
    number = 1
    for _ in range(10):
        number = successor(number)
    return number


def raise_through_ten() -> str:
    try:
        raise EXCEPTION
    except ValueError as error:
        return str(error)


def by_hand(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def create(suite: Suite) -> None:
    suite.compare(
        "create",
        {
            "bare __slots__ class": repeated("Slots(5)", Slots=Slots),
            "qicore Success(5)": repeated("Success(5)", Success=Success),
            "qicore Result.success(5)": repeated("Result.success(5)", Result=Result),
            "result (mutable)": repeated("Ok(5)", Ok=rustedpy.Ok),
            "safe-result (mutable)": repeated("Ok(5)", Ok=safe.Ok),
            "returns": repeated("Success(5)", Success=dry.Success),
            "expression": repeated("Ok(5)", Ok=expression.Ok),
        },
        calls=50,
        target="no slower than returns and expression; at most 1.45 of the bare class",
    )
    suite.compare(
        "create a failure",
        {
            "bare __slots__ class": repeated("Slots(ERROR)", Slots=Slots, ERROR=ERROR),
            "qicore Failure(error)": repeated("Failure(ERROR)", Failure=Failure, ERROR=ERROR),
            "qicore Result.failure(error)": repeated("Result.failure(ERROR)", Result=Result, ERROR=ERROR),
            "result (mutable)": repeated("Err(EXCEPTION)", Err=rustedpy.Err, EXCEPTION=EXCEPTION),
            "returns": repeated("Failure(EXCEPTION)", Failure=dry.Failure, EXCEPTION=EXCEPTION),
        },
        calls=50,
    )


def operations(suite: Suite) -> None:
    ok, failed = Success(1), Failure(ERROR)
    r_ok, r_failed = rustedpy.Ok(1), rustedpy.Err(EXCEPTION)
    s_ok, s_failed = safe.Ok(1), safe.Err(EXCEPTION)
    d_ok, d_failed = dry.Success(1), dry.Failure(EXCEPTION)
    e_ok, e_failed = expression.Ok(1), expression.Error(EXCEPTION)
    suite.compare(
        "map",
        {
            "qicore": lambda: ok.map(successor),
            "result (mutable)": lambda: r_ok.map(successor),
            "safe-result (mutable)": lambda: s_ok.map(successor),
            "returns": lambda: d_ok.map(successor),
            "expression": lambda: e_ok.map(successor),
        },
    )
    suite.compare(
        "flat_map x10",
        {
            "qicore": steps("flat_map", ok, lambda n: Success(n + 1)),
            "result (mutable)": steps("and_then", r_ok, lambda n: rustedpy.Ok(n + 1)),
            "safe-result (mutable)": steps("and_then", s_ok, lambda n: safe.Ok(n + 1)),
            "returns": steps("bind", d_ok, lambda n: dry.Success(n + 1)),
            "expression": steps("bind", e_ok, lambda n: expression.Ok(n + 1)),
            "bare calls": plain_ten,
        },
    )
    suite.compare(
        "short-circuit x10",
        {
            "qicore": steps("flat_map", failed, lambda n: Success(n + 1)),
            "result (mutable)": steps("and_then", r_failed, lambda n: rustedpy.Ok(n + 1)),
            "safe-result (mutable)": steps("and_then", s_failed, lambda n: safe.Ok(n + 1)),
            "returns": steps("bind", d_failed, lambda n: dry.Success(n + 1)),
            "expression": steps("bind", e_failed, lambda n: expression.Ok(n + 1)),
            "raise and except": raise_through_ten,
        },
    )
    suite.compare(
        "unwrap",
        {
            "qicore": lambda: ok.unwrap(),
            "result (mutable)": lambda: r_ok.unwrap(),
            "safe-result (mutable)": lambda: s_ok.unwrap(),
            "returns": lambda: d_ok.unwrap(),
        },
    )
    suite.compare(
        "unwrap_or on a success",
        {
            "qicore": lambda: ok.unwrap_or(0),
            "result (mutable)": lambda: r_ok.unwrap_or(0),
            "safe-result (mutable)": lambda: s_ok.unwrap_or(0),
            "returns": lambda: d_ok.value_or(0),
            "expression": lambda: e_ok.default_value(0),
        },
    )
    suite.compare(
        "unwrap_or on a failure",
        {
            "qicore": lambda: failed.unwrap_or(0),
            "result (mutable)": lambda: r_failed.unwrap_or(0),
            "safe-result (mutable)": lambda: s_failed.unwrap_or(0),
            "returns": lambda: d_failed.value_or(0),
            "expression": lambda: e_failed.default_value(0),
        },
    )


def matching(suite: Suite) -> None:
    def ours(outcome: Result[int]) -> int:
        match outcome.variant:
            case Success(value):
                return value
            case Failure(_):
                return 0

    def ours_bare(outcome: object) -> object:
        match outcome:
            case Success(value):
                return value
            case Failure(_):
                return 0
        return None

    def rusted(outcome: object) -> object:
        match outcome:
            case rustedpy.Ok(value):
                return value
            case rustedpy.Err(_):
                return 0
        return None

    def safe_match(outcome: object) -> object:
        match outcome:
            case safe.Ok(value):
                return value
            case safe.Err(_):
                return 0
        return None

    def dry_match(outcome: object) -> object:
        match outcome:
            case dry.Success(value):
                return value
            case dry.Failure(_):
                return 0
        return None

    def expression_match(outcome: object) -> object:
        match outcome:
            case expression.Result(tag="ok", ok=value):
                return value
            case expression.Result():
                return 0
        return None

    contenders: dict[str, tuple[Callable[..., object], object, object]] = {
        "qicore": (ours_bare, Success(1), Failure(ERROR)),
        "qicore over .variant": (ours, Success(1), Failure(ERROR)),
        "result (mutable)": (rusted, rustedpy.Ok(1), rustedpy.Err(EXCEPTION)),
        "safe-result (mutable)": (safe_match, safe.Ok(1), safe.Err(EXCEPTION)),
        "returns": (dry_match, dry.Success(1), dry.Failure(EXCEPTION)),
        "expression": (expression_match, expression.Ok(1), expression.Error(EXCEPTION)),
    }
    for operation, index in (("match statement, success", 1), ("match statement, failure", 2)):
        suite.compare(
            operation,
            {name: (lambda fn=row[0], one=row[index]: fn(one)) for name, row in contenders.items()},
        )
    ok = Success(1)
    suite.compare("match()", {"qicore": lambda: ok.match(successor, str)})


def decorators(suite: Suite) -> None:
    ours = as_result(ValueError)(int)
    rusted = rustedpy.as_result(ValueError)(int)
    guarded = safe.safe_with(ValueError)(int)
    dried = dry.safe((ValueError,))(int)
    caught = catch(exception=ValueError)(int)
    for operation, text in (("decorator, ok", "5"), ("decorator, failing", "x")):
        suite.compare(
            operation,
            {
                "qicore": lambda text=text: ours(text),
                "result (mutable)": lambda text=text: rusted(text),
                "safe-result (mutable)": lambda text=text: guarded(text),
                "returns": lambda text=text: dried(text),
                "expression": lambda text=text: caught(text),
                "try/except by hand": lambda text=text: by_hand(text),
            },
        )


def errors(suite: Suite) -> None:
    suite.compare(
        "error creation",
        {
            "qicore QiError.create, no context": lambda: QiError.create(
                "ODD", "it is odd", ErrorCategory.VALIDATION
            ),
            "qicore QiError.validation, 2 facts": lambda: QiError.validation(
                "ODD", "it is odd", number=3, name="n"
            ),
            "ValueError": lambda: ValueError("it is odd"),
        },
        target="the seed's ceiling is 100 us",
    )


def imports(suite: Suite) -> None:
    """Each import in a new interpreter, less what a bare interpreter takes."""

    # Compiled files are kept, as they are for a user: without them every import compiles anew.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def spend(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-S", "-c", code], check=True, env=env)
        return time.perf_counter() - start

    path = "; ".join(f"sys.path.append({entry!r})" for entry in sys.path if entry)
    contenders = {
        "import qicore.base": "import qicore.base",
        "bare import of typing, enum": "import typing, enum",
        "import result": "import result",
        "import returns.result": "import returns.result",
        "import safe_result": "import safe_result",
        "import expression": "import expression",
    }
    for code in contenders.values():
        spend(f"import sys; {path}; {code}")
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(21):
        empty = min(spend(f"import sys; {path}") for _ in range(3))
        for name, code in contenders.items():
            samples[name].append(max(1e-6, spend(f"import sys; {path}; {code}") - empty))
    suite.record("import", samples, target="at most 1.5 of import typing, enum")


def main() -> None:
    suite = Suite("base", ("result", "returns", "expression", "safe-result"))
    create(suite)
    operations(suite)
    matching(suite)
    decorators(suite)
    errors(suite)
    imports(suite)
    suite.save()


if __name__ == "__main__":
    main()
