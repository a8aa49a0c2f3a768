"""Real files, pipes, devices and processes."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.logging import LogConfig, Logger
from qicore.logging.testing import MemoryDestination


def create(destination: Any, **options: Any) -> Logger:
    return Logger.create(LogConfig(destination=destination, format="json", **options)).unwrap()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def repeat(log: Logger, times: int, message: str, **context: object) -> None:
    for _ in range(times):
        log.info(message, **context)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def run(code: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], check=False, timeout=60, capture_output=True)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_appended_to(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    for number in range(2):
        with create(kind(path)) as log:
            log.info("x", n=number)
    assert [line["n"] for line in lines_of(path)] == [0, 1]
    assert path.stat().st_mode & 0o007 == 0


def test_what_can_not_be_opened_is_a_failure_now(tmp_path: Path) -> None:
    closed = io.StringIO()
    closed.close()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "read").open("wb"), (tmp_path / "read").open("rb") as read_only:
        hopeless: list[Any] = [
            tmp_path, tmp_path / "no" / "file", tmp_path / "file" / "x", tmp_path / "fifo", closed, read_only,
        ]  # fmt: skip
        for destination in hopeless:
            error = Logger.create(LogConfig(destination=destination)).error
            assert error is not None
            assert (error.code, error.category) == ("INVALID_LOG_CONFIG", ErrorCategory.CONFIGURATION)
            assert error.cause is not None


def test_a_full_disk_is_counted_told_once_and_costs_the_caller_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = create("/dev/full")
    for _ in range(5):
        log.info("x")
    log.raw.info("y")
    assert log.dropped == log.stats.dropped == 6
    assert "No space left" in (log.stats.last_problem or "")
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "/dev/full" in told


def test_after_a_disk_was_full_in_the_middle_of_a_line_the_next_is_whole(tmp_path: Path) -> None:
    code = f"""
import resource
from qicore.logging import LogConfig, Logger
log = Logger.create(LogConfig(destination={str(tmp_path / "app.log")!r}, format="json")).unwrap()
log.info("first")
resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))
log.info("torn", text="x" * 100)
log.info("lost")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.info("last")
print(log.dropped)
"""
    done = run(code)
    assert done.stdout == b"2\n", done.stderr
    first, torn, last = (tmp_path / "app.log").read_text().splitlines()
    assert json.loads(first)["event"] == "first"
    assert "torn" in torn
    assert json.loads(last)["event"] == "last"


def test_a_closed_pipe_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    log = create(f"/proc/self/fd/{writer}")
    log.info("read")
    assert b'"read"' in os.read(reader, 1000)
    os.close(reader)
    log.info("not read")
    assert log.dropped == 1
    assert log.close().is_success
    os.close(writer)


@pytest.mark.parametrize("name", ["stderr", "stdout"])
def test_a_standard_stream_that_nobody_reads_is_counted(name: str) -> None:
    code = f"""
import os
from qicore.logging import LogConfig, Logger
log = Logger.create(LogConfig(destination={name!r})).unwrap()
log.info("x")
os._exit(log.dropped)
"""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {name: writer}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=60,
        stdout=streams.get("stdout"), stderr=streams.get("stderr"),
    )  # fmt: skip
    assert done.returncode == 1
    os.close(writer)


def test_a_process_without_stderr_learns_it_at_once() -> None:
    code = """
import sys
sys.stderr = None
from qicore.logging import LogConfig, Logger
print(Logger.create(LogConfig()).error)
"""
    assert b"INVALID_LOG_CONFIG" in run(code).stdout


def test_a_stalled_reader_holds_a_caller_up_once_and_not_for_good() -> None:
    reader, writer = os.pipe()
    log = create(f"/proc/self/fd/{writer}", patience=0.05)
    sent = 0
    while not log.dropped:
        log.info("x" * 1000)
        sent += 1
    start = time.monotonic()
    for _ in range(1000):
        log.info("x" * 1000)
    # A thousand times the patience would be 50 s.
    assert time.monotonic() - start < 40
    assert log.dropped == 1001
    read = 0
    os.set_blocking(reader, False)
    while read < sent * 1000:
        try:
            read += len(os.read(reader, 1 << 16))
        except BlockingIOError:
            break
    log.info("again")
    assert b'"again"' in os.read(reader, 1 << 16)
    assert log.dropped == 1001
    os.close(reader)
    os.close(writer)


def test_a_stalled_stderr_does_not_stop_the_program() -> None:
    code = """
from qicore.logging import LogConfig, Logger
log = Logger.create(LogConfig(format="json", patience=0.05)).unwrap()
for _ in range(300):
    log.info("x" * 1000)
print(log.dropped)
"""
    reader, writer = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writer, timeout=60, check=True
    )
    assert int(done.stdout) > 100
    assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK, "others share this pipe"
    os.close(writer)
    os.close(reader)


def test_a_slow_reader_gets_every_line_whole() -> None:
    reader, writer = os.pipe()
    received = bytearray()

    def read() -> None:
        while chunk := os.read(reader, 700):
            received.extend(chunk)

    thread = threading.Thread(target=read)
    thread.start()
    log = create(f"/proc/self/fd/{writer}", patience=30)
    workers = [threading.Thread(target=repeat, args=(log, 20, "x" * 9000), kwargs={"n": n}) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    log.close()
    os.close(writer)
    thread.join()
    os.close(reader)
    lines = [json.loads(line) for line in received.splitlines()]
    assert log.dropped == 0
    assert sorted(line["n"] for line in lines) == sorted(list(range(4)) * 20)


def test_processes_that_share_a_file_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "shared.log"
    code = f"""
import sys
from qicore.logging import LogConfig, Logger
log = Logger.create(LogConfig(destination={str(path)!r}, format="json")).unwrap()
for step in range(300):
    log.info("x" * (step * 37 % 5000), who=sys.argv[1], step=step)
"""
    workers = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    lines = lines_of(path)
    for number in range(4):
        assert [line["step"] for line in lines if line["who"] == str(number)] == list(range(300))


def test_a_forked_child_may_log_while_another_thread_held_the_lock() -> None:
    code = """
import os, sys, threading, time
from qicore.logging import LogConfig, Logger
class Slow:
    def write(self, text):
        if text and os.getpid() == parent: started.set(); time.sleep(0.3)
        return len(text)
    def flush(self): pass
parent, started = os.getpid(), threading.Event()
log = Logger.create(LogConfig(destination=Slow(), format="json")).unwrap()
thread = threading.Thread(target=log.info, args=("x",))
thread.start()
started.wait()
child = os.fork()
if not child:
    log.info("y")
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread.join()
"""
    assert run(code).stdout.strip().splitlines()[-1:] == [b"7"]


def test_a_signal_handler_may_log_in_the_middle_of_a_line() -> None:
    log: Logger

    class Interrupting(io.StringIO):
        def write(self, text: str, /) -> int:
            if "outer" in text:
                signal.raise_signal(signal.SIGUSR1)
            return super().write(text)

    def handle(_: int, __: object) -> None:
        log.info("inner")

    out = Interrupting()
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        log = create(out)
        log.info("outer")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert {json.loads(line)["event"] for line in out.getvalue().splitlines()} == {"inner", "outer"}


def test_streams_of_all_kinds_are_written_and_left_open(tmp_path: Path) -> None:
    text, binary = io.StringIO(), io.BytesIO()
    with (
        (tmp_path / "text").open("w", encoding="utf-8") as text_file,
        (tmp_path / "binary").open("wb") as binary_file,
        (tmp_path / "raw").open("wb", buffering=0) as raw_file,
        tempfile.NamedTemporaryFile() as temporary,
    ):
        for stream in (text, binary, text_file, binary_file, raw_file, temporary):
            with create(stream) as log:
                log.info("grüße", n=1)
            assert not stream.closed
            assert log.dropped == 0
        contents = [(tmp_path / name).read_text(encoding="utf-8") for name in ("text", "binary", "raw")]
        contents += [
            text.getvalue(),
            binary.getvalue().decode(),
            Path(temporary.name).read_text(encoding="utf-8"),
        ]
    assert [json.loads(content)["event"] for content in contents] == ["grüße"] * 6


def test_a_stream_that_can_not_carry_a_character_gets_its_escape() -> None:
    raw = io.BytesIO()
    with create(io.TextIOWrapper(raw, encoding="ascii")) as log:
        log.info("grüße 🐍")
        assert json.loads(raw.getvalue())["event"] == "grüße 🐍"


class Failing(io.StringIO):
    def __init__(self, problem: Exception) -> None:
        super().__init__()
        self.problem = problem

    def write(self, text: str, /) -> int:
        if text:
            raise self.problem
        return 0


@pytest.mark.parametrize(
    "problem", [OSError(28, "No space"), ValueError("closed"), RuntimeError(), MemoryError()]
)
def test_a_stream_that_fails_is_counted(problem: Exception) -> None:
    log = create(Failing(problem))
    log.info("x")
    assert log.dropped == 1


def test_a_stream_closed_by_its_owner_is_counted_and_can_be_closed_over() -> None:
    stream = io.StringIO()
    log = create(stream)
    stream.close()
    log.info("x")
    assert log.dropped == 1
    assert log.close().is_success


def test_a_flush_that_fails_at_the_end_is_reported() -> None:
    class Broken(io.StringIO):
        def flush(self) -> None:
            raise OSError(5, "I/O error")

    result = create(Broken()).close()
    assert result.error is not None
    assert result.error.code == "LOG_CLOSE_FAILED"


async def test_closing_is_idempotent_and_awaitable(tmp_path: Path) -> None:
    async with create(tmp_path / "a.log") as log:
        log.info("x")
    assert (await log.close()).is_success
    assert log.close().is_success
    log.info("too late")
    assert log.with_context(a=1).dropped == 1
    assert "closed" in (log.stats.last_problem or "")
    assert len(lines_of(tmp_path / "a.log")) == 1


def test_closing_frees_the_descriptor(tmp_path: Path) -> None:
    before = open_descriptors()
    for _ in range(20):
        create(tmp_path / "a.log").close()
    assert open_descriptors() == before


def test_the_notice_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (None, Failing(OSError())):
        monkeypatch.setattr(sys, "stderr", stream)
        log = create("/dev/full")
        log.info("x")
        assert log.dropped == 1


def test_losses_in_many_threads_are_all_counted(capsys: pytest.CaptureFixture[str]) -> None:
    log = create("/dev/full")
    threads = [threading.Thread(target=repeat, args=(log, 200, "x")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.dropped == 1600
    assert capsys.readouterr().err.count("\n") == 1


def test_stdout_is_followed_where_python_redirects_it(capsys: pytest.CaptureFixture[str]) -> None:
    create("stdout").info("x")
    create("stderr").info("y")
    out, err = capsys.readouterr()
    assert json.loads(out)["event"] == "x"
    assert json.loads(err)["event"] == "y"


def test_stdout_itself_gets_whole_lines() -> None:
    code = """
from qicore.logging import LogConfig, Logger
print("before")
Logger.create(LogConfig(destination="stdout")).unwrap().info("x", a=1)
"""
    before, line = run(code).stdout.splitlines()
    assert before == b"before"
    assert json.loads(line)["a"] == 1


def test_a_terminal_gets_colours_unless_it_shall_not() -> None:
    code = "from qicore.logging import Logger; Logger.create().unwrap().warn('careful', a='x y')"
    for environment, colour in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        leader, follower = os.openpty()
        clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
        subprocess.run(
            [sys.executable, "-c", code], stderr=follower, check=True, timeout=60, env=clean | environment
        )
        shown = os.read(leader, 10_000)
        os.close(leader)
        os.close(follower)
        assert b"careful" in shown
        assert (b"\x1b[" in shown) is colour


def test_a_memory_destination_reads_back() -> None:
    memory = MemoryDestination()
    create(memory).info("x", a=1)
    assert memory.lines()[0]["a"] == 1
