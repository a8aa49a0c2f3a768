"""What is counted as left behind: what a test started, and nothing of what others did."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import psutil
import pytest
from qicore_testkit.leftovers import new_children, nothing_left

PARENT = """
import subprocess, sys
input()
with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
    print(child.pid, flush=True)
    input()
"""


@contextmanager
def parent() -> Generator[subprocess.Popen[str]]:
    """A process that starts one of its own when a line comes, and ends it with the next."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.communicate("\n")


def has_a_child(process: subprocess.Popen[str]) -> int:
    """Have it start its own, and return the id of that."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def test_a_child_counts_and_all_that_it_starts() -> None:
    children = new_children()
    assert children() == set()
    with parent() as process:
        assert children() == {process.pid}
        grandchild = has_a_child(process)
        assert children() == {process.pid, grandchild}
    assert children() == set()


def test_what_a_server_of_other_tests_starts_does_not_count() -> None:
    with parent() as process:
        children = new_children()
        with nothing_left():
            grandchild = has_a_child(process)
        assert psutil.pid_exists(grandchild)
        assert children() == set()


def test_a_child_that_is_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qicore_testkit.leftovers._PATIENCE", 0.0)
    left: list[subprocess.Popen[bytes]] = []
    with pytest.raises(AssertionError, match="left behind") as raised, nothing_left():
        left.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    assert str(left[0].pid) in str(raised.value)
    left[0].communicate(b"\n")
