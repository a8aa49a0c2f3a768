import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.base.testing.strategies import categories, errors, failures, json_values, results, successes

LOW = QiError.network("REFUSED", "connection refused", host="example.org")
ERROR = QiError.cache("CACHE_LOAD_FAILED", "no cache", path="a.db").with_cause(LOW)


def test_a_success_gives_its_value() -> None:
    assert assert_success(Success(None)) is None


def test_a_failure_is_shown_whole() -> None:
    with pytest.raises(AssertionError) as raised:
        assert_success(Failure(ERROR))
    assert str(raised.value).splitlines() == [
        "expected a Success, got a Failure:",
        "CACHE/CACHE_LOAD_FAILED: no cache",
        "    path: 'a.db'",
        "caused by NETWORK/REFUSED: connection refused",
        "    host: 'example.org'",
    ]
    assert raised.value.__cause__ is ERROR


def test_a_failure_gives_its_error() -> None:
    assert assert_failure(Failure(ERROR)) is ERROR
    assert assert_failure(Failure(ERROR), "CACHE_LOAD_FAILED", ErrorCategory.CACHE) is ERROR


def test_an_unexpected_outcome_is_named() -> None:
    with pytest.raises(AssertionError, match=r"Failure with MINE, got Success\(1\)"):
        assert_failure(Success(1), "MINE")
    with pytest.raises(AssertionError, match="the code MINE, got:\nCACHE/"):
        assert_failure(Failure(ERROR), "MINE")
    with pytest.raises(AssertionError, match="the category TIMEOUT, got:\nCACHE/"):
        assert_failure(Failure(ERROR), category=ErrorCategory.TIMEOUT)


def test_pytest_points_at_the_callers_line(tmp_path: Path) -> None:
    test = tmp_path / "test_red.py"
    test.write_text(
        textwrap.dedent(
            """
            from qicore.base import Failure, QiError
            from qicore.base.testing import assert_success

            def test_red():
                assert_success(Failure(QiError.cache("NO_CACHE", "gone", host="example.org")))
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "CACHE/NO_CACHE: gone" in done.stdout
    assert "host: 'example.org'" in done.stdout
    assert "assertions.py" not in done.stdout


@given(results(st.integers()), successes(st.text()), failures(), categories(), json_values())
def test_the_strategies_give_what_they_say(
    result: Result[int], success: Result[str], failure: Failure, category: ErrorCategory, value: object
) -> None:
    assert isinstance(result.unwrap_or(0), int)
    assert isinstance(success.unwrap(), str)
    assert isinstance(failure.error, QiError)
    assert category in ErrorCategory
    assert QiError.cache("A", "a", value=value).to_structured_data()["context"] == {"value": value}


def test_the_longest_chain_is_bounded() -> None:
    with pytest.raises(ValueError, match="0 to 10"):
        errors(max_causes=11)


def test_without_hypothesis_the_strategies_say_what_to_install() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import qicore.base.testing.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "install qicore-base[testing]" in done.stderr
