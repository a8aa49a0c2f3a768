"""The host's side: workers are started when needed, reused while sound, and killed when not."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeVar, cast

from jinja2 import TemplateNotFound
from jinja2.exceptions import SecurityError
from qicore.base import QiError
from qicore.document.config import DocumentConfig, SandboxConfig
from qicore.document.errors import Place, UnreadableTemplate, limit_exceeded, timed_out, translate
from qicore.document.sandbox.wire import Frame, dump_plain, from_json, receive, send

__all__ = ["WorkerPool"]

_START_TIMEOUT: Final = 60.0
_BATCH: Final = 256
_SLACK: Final = 1_048_576  # what a message may take beyond the output itself
_CODE: Final = (
    "import sys; sys.path[:] = sys.argv[1:]; from qicore.document.sandbox.worker import main; main()"
)

T = TypeVar("T")
Source = Callable[[str], str]


def _stand_ins() -> Mapping[str, Any]:
    # Late: the worker's module needs POSIX, and its classes are only named here, to be found there.
    from qicore.document.sandbox.worker import STAND_INS

    return STAND_INS


class _Worker:
    """One process and the socket to it."""

    def __init__(self, setup: bytes) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self.process = subprocess.Popen(  # noqa: S603 - this interpreter, with our own code
                    [sys.executable, "-I", "-B", "-c", _CODE, *sys.path],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={"PYTHONHASHSEED": "random", "LC_ALL": "C.UTF-8"},
                    cwd="/",
                    start_new_session=True,  # a Ctrl-C is for the host, which ends its workers itself
                )
        except BaseException:
            ours.close()
            raise
        self.channel = ours
        try:
            ours.settimeout(_START_TIMEOUT)
            send(ours, Frame.SETUP, setup)
            receive(ours.recv, 0)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End the process, whatever it does, and wait until it is gone."""
        self.channel.close()
        self.process.kill()
        self.process.wait()


def _end(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().kill()


class WorkerPool:
    """At most `max_workers` workers; a rendering has one for itself."""

    def __init__(self, options: DocumentConfig, limits: SandboxConfig) -> None:
        self._options = options
        self._limits = limits
        self._free = threading.BoundedSemaphore(int(limits.max_workers))
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._closed = False
        self._finish = weakref.finalize(self, _end, self._idle)
        self._settings: tuple[bytes, list[object]] | None = None

    def close(self) -> None:
        """End the idle workers; one that renders ends when its rendering does."""
        with self._lock:
            self._closed = True
            idle = self._idle[:]
            self._idle.clear()
        _end(idle)

    def render(self, name: str, source: str, data: Mapping[str, object], find: Source) -> Iterator[str]:
        """Yield the output in chunks; raise a QiError for whatever goes wrong.

        `find` gives the source of a further template, or raises what a loader raises.
        """
        if len(source.encode("utf-8", "surrogatepass")) > self._limits.max_template:
            raise too_long(name, self._limits)
        if not self._free.acquire(timeout=self._limits.timeout):
            raise timed_out(self._limits.timeout, template=name, reason="every sandbox worker is busy")
        try:
            worker = self._take()
            job = _Job(self._limits, self._options, worker, self._setup()[1], find)
            try:
                yield from job.run(name, source, data)
            finally:
                self._put_back(worker, job.sound)
        finally:
            self._free.release()

    def _take(self) -> _Worker:
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                break
            if worker.process.poll() is None:
                return worker
            worker.kill()
        try:
            return _Worker(self._setup()[0])
        except (OSError, EOFError, ValueError) as error:
            raise QiError.from_exception(error, code="SANDBOX_UNAVAILABLE") from error

    def _put_back(self, worker: _Worker, sound: bool) -> None:
        if sound:
            with self._lock:
                if not self._closed:
                    self._idle.append(worker)
                    return
        worker.kill()

    def _setup(self) -> tuple[bytes, list[object]]:
        if self._settings is None:
            options, limits, kept = self._options, self._limits, list[object]()
            setup = {
                "cache_size": options.cache_size,
                "chunk_size": options.chunk_size,
                "escaped_suffixes": options.escaped_suffixes,
                "extensions": options.extensions,
                "trim_blocks": options.trim_blocks,
                "lstrip_blocks": options.lstrip_blocks,
                "keep_trailing_newline": options.keep_trailing_newline,
                "filters": list(options.filters),
                "tests": list(options.tests),
                "functions": dict(options.functions),
                "max_memory": int(limits.max_memory),
                "max_output": int(limits.max_output),
                "timeout": limits.timeout,
            }
            self._settings = (dump_plain(setup, _keeper(kept), _stand_ins(), with_references=False), kept)
        return self._settings


def _keeper(kept: list[object]) -> Callable[[object], int]:
    def keep(value: object) -> int:
        kept.append(value)
        return len(kept) - 1

    return keep


class _Job:
    """One rendering: it sends the job, answers the worker's questions and counts its time and output."""

    def __init__(
        self,
        limits: SandboxConfig,
        options: DocumentConfig,
        worker: _Worker,
        kept: list[object],
        find: Source,
    ) -> None:
        self._limits = limits
        self._options = options
        self._worker = worker
        self._kept = list(kept)
        self._keep = _keeper(self._kept)
        self._find = find
        self._left = float(limits.timeout)
        self._deadline = 0.0
        self._name = ""
        self.sound = False
        self._refused: Exception | None = None
        self._with_references = bool(options.filters or options.tests or options.functions)

    def run(self, name: str, source: str, data: Mapping[str, object]) -> Iterator[str]:
        """Yield the output; `sound` says afterwards whether the worker can be used again."""
        self._name = name
        total = 0
        error: QiError | None = None
        try:
            self._send(Frame.JOB, (name, source, dict(data)))
            while True:
                kind, payload = self._receive()
                if kind is Frame.TEXT:
                    total += len(payload)
                    if total > self._limits.max_output:
                        raise ValueError("the worker sent more than it may")
                    yield payload.decode("utf-8", "surrogatepass")
                elif kind is Frame.ASK:
                    self._answer(payload)
                elif kind is Frame.ERROR:
                    error = self._error(from_json(payload))
                elif kind is Frame.DONE:
                    self.sound = from_json(payload) is False
                    break
                else:
                    raise ValueError("the worker sent a message out of order")
        except TimeoutError:
            raise timed_out(self._limits.timeout, template=name) from None
        except (EOFError, ConnectionError):
            raise self._died(name) from None
        except (ValueError, TypeError, AttributeError) as problem:
            raise QiError.from_exception(problem, code="SANDBOX_UNAVAILABLE", template=name) from problem
        if error is not None:
            raise error

    def _send(self, kind: Frame, value: object) -> None:
        try:
            payload = dump_plain(value, self._keep, _stand_ins(), with_references=self._with_references)
        except Exception as error:
            raise translate(error, Place(self._name, None)) from error
        self._timed(lambda: send(self._worker.channel, kind, payload))

    def _receive(self) -> tuple[Frame, bytes]:
        return self._timed(lambda: receive(self._read, int(self._limits.max_output) + _SLACK))

    def _timed(self, step: Callable[[], T]) -> T:
        """Run a step that waits for the worker, on the rendering's time."""
        if self._left <= 0:
            raise TimeoutError
        self._worker.channel.settimeout(self._left)
        start = time.monotonic()
        self._deadline = start + self._left
        try:
            return step()
        finally:
            self._left -= time.monotonic() - start

    def _read(self, size: int) -> bytes:
        # Each part of a message has what is left for the whole, so that no drip of bytes buys time.
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._worker.channel.settimeout(left)
        return self._worker.channel.recv(size)

    def _answer(self, payload: bytes) -> None:
        what, *values = from_json(payload, self._kept)
        try:
            match what, values:
                case "template", [str(name)]:
                    answer: object = self._template(name)
                case "call", [target, list(), dict()]:
                    answer = self._callee(target)(*values[1], **values[2])
                case "iterate", [int(number)]:
                    answer = self._keep(iter(cast("Iterable[object]", self._kept[number])))
                case "next", [int(number)]:
                    items = list(islice(cast("Iterator[object]", self._kept[number]), _BATCH))
                    answer = (items, len(items) == _BATCH)
                case _:
                    raise ValueError("the worker asked for what there is not")
        except Exception as exception:  # noqa: BLE001 - it ends the rendering, and is reported with its place
            self._refused = exception
            self._send(Frame.REFUSE, None)
        else:
            self._send(Frame.ANSWER, answer)

    def _template(self, name: str) -> tuple[str, object]:
        try:
            source = self._find(name)
        except TemplateNotFound:
            return "missing", None
        except SecurityError as error:
            return "unsafe", str(error)
        except UnreadableTemplate as error:
            return "unreadable", str(error)
        if len(source.encode("utf-8", "surrogatepass")) > self._limits.max_template:
            return "error", too_long(name, self._limits).to_structured_data()
        return "source", source

    def _callee(self, target: object) -> Callable[..., object]:
        match target:
            case ["filter", str(name)]:
                return self._options.filters[name]
            case ["test", str(name)]:
                return self._options.tests[name]
            case int():
                return cast("Callable[..., object]", self._kept[target])
            case _:
                raise ValueError("the worker asked for what there is not")

    def _error(self, report: dict[str, Any]) -> QiError:
        if "refused" in report and self._refused is not None:
            template, line = report["refused"]
            return translate(self._refused, Place(template, line))
        return QiError.from_structured_data(report["error"])

    def _died(self, name: str) -> QiError:
        code = self._worker.process.wait()
        if code == -signal.SIGXCPU:
            return timed_out(self._limits.timeout, template=name)
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return limit_exceeded("process", f"the sandbox worker ended with {how}", template=name)


def too_long(name: str, limits: SandboxConfig) -> QiError:
    """Return the error for a template that is longer than it may be."""
    limit = int(limits.max_template)
    return limit_exceeded(
        "template", f"the template is longer than {limit} bytes", template=name, maximum=limit
    )
