"""The results of the benchmarks are summed up truly, and a comparison sees what moved."""

import io
import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from bench_compare import Change, collect, compare, measure, report
from bench_results import Suite, comparisons, is_ours, read
from charts import drawing

BASE = [1.00, 1.04, 0.98, 1.02, 1.01]
KEY = ("base", "create", "qicore")


def timing(ratio: float) -> dict[str, float]:
    return {"median": ratio * 1e-6, "low": ratio * 1e-6, "high": ratio * 1e-6, "ratio": ratio}


def suite(**ratios: float) -> Suite:
    row = {name.replace("_", " "): timing(ratio) for name, ratio in ratios.items()}
    return Suite("base", {}, {}, {"create": row})


@pytest.mark.parametrize(
    ("head", "moved"),
    [
        ([1.10, 1.12, 1.09, 1.2, 1.11], True),
        ([0.80, 0.82, 0.79, 0.9, 0.81], True),
        ([1.10, 1.12, 1.03, 1.2, 1.11], False),  # one run lies among the base's
        ([1.05, 1.05, 1.05, 1.05, 1.05], True),
        ([1.041, 1.041, 1.041, 1.041, 1.039], False),
        (BASE, False),
    ],
)
def test_only_what_lies_apart_has_moved(head: list[float], *, moved: bool) -> None:
    (change,) = compare({KEY: BASE, ("gone", "", ""): BASE}, {KEY: head, ("new", "", ""): head})
    assert change.key == KEY
    assert change.moved is moved


def test_a_difference_below_three_percent_has_not_moved() -> None:
    (change,) = compare({KEY: [1.0, 1.0]}, {KEY: [1.02, 1.02]})
    assert not change.moved


def test_references_are_compared_by_time_and_the_others_by_ratio() -> None:
    runs = [[suite(peer=1.0, qicore=2.0)], [suite(peer=1.0, qicore=3.0)]]
    assert collect(runs) == {
        ("base", "create", "peer"): [1e-6, 1e-6],
        ("base", "create", "qicore"): [2.0, 3.0],
    }


def test_a_report_says_what_moved() -> None:
    out = io.StringIO()
    changes = [
        Change(("base", "map", "qicore"), 1.5, moved=True),
        Change(("base", "create", "qicore"), 0.5, moved=True),
        Change(("base", "match", "qicore"), 1.5, moved=False),
        Change(("base", "map", "returns"), 1.5, moved=True),
    ]
    report(changes, out)
    assert out.getvalue().splitlines() == [
        "slower: 1",
        "  x1.50  base: map: qicore",
        "faster: 1",
        "  x0.50  base: create: qicore",
        "within the noise: 1",
        "of 1 that are not ours moved: 1",
    ]


def bench(folder: Path, code: str) -> Path:
    results = folder / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "old.json").write_text("{}", encoding="utf-8")
    (folder / "benchmarks" / "bench_base.py").write_text(code, encoding="utf-8")
    return folder


def test_a_run_gives_what_was_measured_now(tmp_path: Path) -> None:
    data = {"suite": "base", "machine": {}, "versions": {}, "rows": {"map": {"qicore": timing(1)}}}
    code = f"open('benchmarks/results/base.json', 'w').write({json.dumps(data)!r})"
    (found,) = measure(bench(tmp_path, code), Path(sys.executable), ["bench_base.py"])
    assert found == Suite("base", {}, {}, {"map": {"qicore": timing(1)}})


def test_a_benchmark_that_fails_stops_the_comparison(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"(?s)bench_base\.py failed in .*no such thing"):
        measure(bench(tmp_path, "raise SystemExit('no such thing')"), Path(sys.executable), ["bench_base.py"])


def test_ours_are_compared_with_the_fastest_peer() -> None:
    (found,) = comparisons([suite(bare_call=0.1, peer=2.0, slow_peer=4.0, qicore=3.0, qicore_slow=5.0)])
    assert (found.ours, found.peer, found.ratio) == ("qicore", "peer", 1.5)
    assert not list(comparisons([suite(bare_call=1.0, qicore=2.0)]))
    assert not list(comparisons([suite(peer=1.0)]))


def test_every_operation_that_was_timed_has_a_contender_of_ours() -> None:
    suites = read()
    assert len(suites) >= 15
    for one in suites:
        for operation, row in one.rows.items():
            assert any(map(is_ours, row)), operation


def test_a_picture_of_a_suite_shows_every_operation() -> None:
    rows = {"map & more": {"qicore": timing(1), "peer": timing(2)}, "create": {"qicore": timing(1)}}
    drawn = ET.fromstring(drawing(rows))
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in drawn.iter(f"{space}text")]
    assert texts == ["map & more", "qicore", "1 µs", "peer", "2 µs", "create", "qicore", "1 µs"]
