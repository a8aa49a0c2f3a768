"""Time contenders side by side: pinned to one core, interleaved round by round, medians with their spread.

A machine's noise hits whatever runs at that moment. So each round times every contender once, in a new order,
and the ratio reported is the median of the per-round ratios, not the ratio of two medians.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_ROUND_SECONDS = 0.02


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one contender: median, first and third quartile, and the ratio to the reference."""

    median: float
    low: float
    high: float
    ratio: float


@dataclass
class Suite:
    """A named set of comparisons. A `target` says what the project promises, beside what was measured."""

    name: str
    packages: tuple[str, ...] = ()
    rounds: int = 15
    rows: dict[str, dict[str, Timing]] = field(default_factory=dict[str, dict[str, Timing]])
    targets: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if hasattr(os, "sched_setaffinity"):
            # The last core: the first one takes most interrupts.
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    def compare(
        self,
        operation: str,
        contenders: Mapping[str, Callable[[], object]],
        *,
        inner: int | None = None,
        calls: int = 1,
        target: str = "",
    ) -> dict[str, Timing]:
        """Time zero-argument callables; the first one is the reference of the ratios.

        `calls` is how many operations one call performs, so that cheap ones can be unrolled or looped inside.
        """
        loops = {name: inner or _loops(lambda n, fn=fn: _spend(fn, n)) for name, fn in contenders.items()}
        samples: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(self.rounds):
            for name in random.sample(list(contenders), len(contenders)):
                spent = _spend(contenders[name], loops[name])
                samples[name].append(spent / loops[name] / calls)
        return self._record(operation, samples, target)

    async def compare_async(
        self,
        operation: str,
        contenders: Mapping[str, Callable[[], Awaitable[object]]],
        *,
        inner: int | None = None,
        calls: int = 1,
        target: str = "",
    ) -> dict[str, Timing]:
        """Time coroutine functions inside the running loop; otherwise as `compare`."""
        loops: dict[str, int] = {}
        for name, fn in contenders.items():
            spent = await _spend_async(fn, 1)
            spent = min(spent, await _spend_async(fn, 1))
            loops[name] = inner or max(1, int(_ROUND_SECONDS / max(spent, 1e-7)))
        samples: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(self.rounds):
            for name in random.sample(list(contenders), len(contenders)):
                spent = await _spend_async(contenders[name], loops[name])
                samples[name].append(spent / loops[name] / calls)
        return self._record(operation, samples, target)

    def record(
        self, operation: str, samples: Mapping[str, list[float]], *, target: str = ""
    ) -> dict[str, Timing]:
        """Take samples measured elsewhere (a process, a server), one list per contender, round by round."""
        return self._record(operation, dict(samples), target)

    def _record(self, operation: str, samples: dict[str, list[float]], target: str) -> dict[str, Timing]:
        reference = samples[next(iter(samples))]
        row: dict[str, Timing] = {}
        for name, times in samples.items():
            low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else (times[0],) * 3
            ratio = statistics.median(mine / theirs for mine, theirs in zip(times, reference, strict=True))
            row[name] = Timing(statistics.median(times), low, high, ratio)
        self.rows[operation] = row
        if target:
            self.targets[operation] = target
        sys.stdout.write(self._lines(operation) + "\n")
        sys.stdout.flush()
        return row

    def _lines(self, operation: str) -> str:
        target = self.targets.get(operation)
        head = f"{self.name}: {operation}" + (f"   [{target}]" if target else "")
        lines = [head]
        for name, timing in self.rows[operation].items():
            spread = f"({_seconds(timing.low)} to {_seconds(timing.high)})"
            lines.append(f"  {name:32} {_seconds(timing.median):>10}  x{timing.ratio:<6.2f} {spread}")
        return "\n".join(lines)

    def save(self) -> None:
        """Write `results/NAME.json` and `results/NAME.md`, with the machine and the versions."""
        RESULTS.mkdir(exist_ok=True)
        versions = {name: _version(name) for name in self.packages}
        rows = {
            operation: {name: asdict(timing) for name, timing in row.items()}
            for operation, row in self.rows.items()
        }
        data = {"suite": self.name, "machine": machine(), "versions": versions}
        data |= {"targets": self.targets, "rows": rows}
        (RESULTS / f"{self.name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        (RESULTS / f"{self.name}.md").write_text(self._markdown(versions), encoding="utf-8")

    def _markdown(self, versions: Mapping[str, str]) -> str:
        beside = "".join(f", {name} {number}" for name, number in versions.items())
        lines = [f"# {self.name}", "", ", ".join(map(str, machine().values())) + beside, ""]
        for operation, row in self.rows.items():
            lines += [f"## {operation}", ""]
            if operation in self.targets:
                lines += [f"Target: {self.targets[operation]}", ""]
            lines += ["| contender | median | quartiles | ratio |", "|---|---:|---:|---:|"]
            lines += [
                f"| {name} | {_seconds(t.median)} | {_seconds(t.low)} to {_seconds(t.high)} | {t.ratio:.2f} |"
                for name, t in row.items()
            ]
            lines.append("")
        return "\n".join(lines)


def machine() -> dict[str, str]:
    """Return what this machine is, as far as it matters to times."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": f"{os.cpu_count()} cores",
    }


def _processor() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _loops(spend: Callable[[int], float]) -> int:
    loops = 1
    while (spent := spend(loops)) < _ROUND_SECONDS / 4:
        loops *= 4
    return max(1, int(loops * _ROUND_SECONDS / spent))


def _spend(fn: Callable[[], object], loops: int) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(loops):
            fn()
        return time.perf_counter() - start
    finally:
        gc.enable()


async def _spend_async(fn: Callable[[], Awaitable[object]], loops: int) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(loops):
            await fn()
        return time.perf_counter() - start
    finally:
        gc.enable()


def _seconds(value: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run an async benchmark."""
    asyncio.run(_call(main))


async def _call(main: Callable[[], Awaitable[None]]) -> None:
    await main()
