"""The worker process: it renders one template at a time, within limits that it sets on itself at its start.

Its only connection is the socket on file descriptor 0. It starts without the host's environment variables.
"""

from __future__ import annotations

import math
import pickle
import resource
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from jinja2 import BaseLoader, Environment, Template, TemplateNotFound, Undefined
from jinja2.exceptions import SecurityError
from qicore.base import QiError
from qicore.document.environment import NamedUndefined, SandboxEnvironment, escapes, prepare
from qicore.document.errors import Place, UnreadableTemplate, find_place, limit_exceeded, translate
from qicore.document.sandbox.wire import Frame, receive, send, to_json

__all__ = ["STAND_INS", "RemoteFunction", "RemoteItems", "main"]

_NO_LIMIT: Final = 2**32 - 1  # the host is trusted; its frames are as long as the header can say


class _Refused(Exception):  # noqa: N818 - never shown: the host kept the exception itself
    """What the host was asked for raised there."""


class _Host:
    """The connection to the host."""

    def __init__(self) -> None:
        self.channel = socket.socket(fileno=0)
        self.file = self.channel.makefile("rb")

    def receive(self) -> tuple[Frame, Any]:
        """Return the next message."""
        kind, payload = receive(self.file.read, _NO_LIMIT)
        return kind, pickle.loads(payload)  # noqa: S301 - from the host, whose process made this one

    def ask(self, what: str, *values: object) -> Any:
        """Ask the host, and return its answer."""
        send(self.channel, Frame.ASK, to_json([what, *values]))
        kind, answer = self.receive()
        if kind is Frame.REFUSE:
            raise _Refused
        return answer


_host: _Host


class RemoteFunction:
    """A function of the host. Its name is that of a filter, test or function, or the number of a value."""

    def __init__(self, name: int | tuple[str, str]) -> None:
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Have the host call it."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, Undefined):
                str(value)  # fails as any other use of it does
        return _host.ask("call", self._name, args, kwargs)


class RemoteItems:
    """An iterable of the host, drawn in batches."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __iter__(self) -> Iterator[Any]:
        number = _host.ask("iterate", self._number)
        more = True
        while more:
            items, more = _host.ask("next", number)
            yield from items


STAND_INS: Final[Mapping[str, type]] = {"function": RemoteFunction, "items": RemoteItems}


class _HostLoader(BaseLoader):
    """Asks the host once per rendering for each template, and keeps what it compiled between renderings."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._compiled: OrderedDict[tuple[str, str], Template] = OrderedDict()
        self._loaded: dict[str, Template] = {}

    def begin(self) -> None:
        """Forget which templates the last rendering had."""
        self._loaded.clear()

    def load(self, environment: Environment, name: str, globals: object = None) -> Template:  # noqa: A002, ARG002
        """Return the template that the host has under the name."""
        if name in self._loaded:
            return self._loaded[name]
        kind, text = _host.ask("template", name)
        match kind:
            case "missing":
                raise TemplateNotFound(name)
            case "unsafe":
                raise SecurityError(text)
            case "unreadable":
                raise UnreadableTemplate(name, OSError(text))
            case "error":
                raise QiError.from_structured_data(text)
            case _:
                return self.compile(environment, name, text)

    def compile(self, environment: Environment, name: str, source: str) -> Template:
        """Return the template compiled from `source`."""
        key = (name, source)
        template = self._compiled.get(key)
        if template is None:
            code = environment.compile(source, name)
            template = environment.template_class.from_code(environment, code, environment.make_globals(None))
            self._compiled[key] = template
            if len(self._compiled) > self._size:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(key)
        self._loaded[name] = template
        return template


def _remote(kind: str, names: list[str]) -> dict[str, Callable[..., Any]]:
    return {name: RemoteFunction((kind, name)) for name in names}


def _build(setup: Mapping[str, Any]) -> tuple[SandboxEnvironment, _HostLoader]:
    loader = _HostLoader(setup["cache_size"])
    environment = SandboxEnvironment(
        loader=loader,
        cache_size=0,
        autoescape=escapes(setup["escaped_suffixes"]),
        undefined=NamedUndefined,
        extensions=setup["extensions"],
        trim_blocks=setup["trim_blocks"],
        lstrip_blocks=setup["lstrip_blocks"],
        keep_trailing_newline=setup["keep_trailing_newline"],
    )
    prepare(
        environment, _remote("filter", setup["filters"]), _remote("test", setup["tests"]), setup["functions"]
    )
    return environment, loader


def _address_space() -> int:
    """Return the size of this process's address space, or 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _lower_limits(memory: int) -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    base = _address_space()
    if base:
        resource.setrlimit(resource.RLIMIT_AS, (base + memory, base + memory))
    return base


def _limit_cpu(seconds: float) -> None:
    # The host's clock ends a rendering in time; this ends a worker whose host has gone or has stopped
    # looking.
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _render(template: Template, data: dict[str, Any], chunk: int, limit: int) -> None:
    parts: list[str] = []
    gathered = total = 0

    def flush() -> None:
        nonlocal gathered, total
        payload = "".join(parts).encode("utf-8", "surrogatepass")
        parts.clear()
        gathered = 0
        total += len(payload)
        if total > limit:
            raise limit_exceeded(
                "output", f"the output is longer than {limit} bytes", template=template.name, maximum=limit
            )
        if payload:
            send(_host.channel, Frame.TEXT, payload)

    for part in template.root_render_func(template.new_context(data)):
        parts.append(part)
        gathered += len(part)
        if gathered >= chunk:
            flush()
    flush()


def _report(exception: Exception, name: str) -> bytes:
    place = find_place(exception.__traceback__)
    place = Place(place.template or name, place.line)
    if isinstance(exception, _Refused):
        return to_json({"refused": list(place)})
    return to_json({"error": translate(exception, place).to_structured_data()})


def main() -> NoReturn:
    """Serve until the host closes the connection."""
    global _host  # noqa: PLW0603 - one process, one host
    _host = _Host()
    _, setup = _host.receive()
    environment, loader = _build(setup)
    environment.from_string(
        "{% for x in [1] %}{{ loop.index }}{{ x|e }}{% endfor %}"
    ).render()  # loads what is late
    base = _lower_limits(setup["max_memory"])
    send(_host.channel, Frame.READY)
    while True:
        try:
            # The data comes as its own pickle: that it is too much is this rendering's error.
            kind, payload = receive(_host.file.read, _NO_LIMIT)
        except EOFError:
            sys.exit(0)
        assert kind is Frame.JOB
        name = "?"
        spent = False
        try:
            _limit_cpu(setup["timeout"])
            loader.begin()
            name, source, data = pickle.loads(payload)  # noqa: S301 - as above
            del payload
            _render(loader.compile(environment, name, source), data, setup["chunk_size"], setup["max_output"])
        except Exception as exception:  # noqa: BLE001 - every one is reported
            report = _report(exception, name)
            spent = isinstance(exception, MemoryError)
            exception.__traceback__ = None
        else:
            report = b""
        data = source = None
        # What stays behind counts against the next rendering, so a worker that has grown is not used again.
        spent = spent or _address_space() - base > setup["max_memory"] // 4
        if report:
            send(_host.channel, Frame.ERROR, report)
        send(_host.channel, Frame.DONE, to_json(spent))
