"""Every way MCP can fail, as a QiError: one table for client and server.

MCP_CONNECT_FAILED, MCP_DISCONNECTED, MCP_SERVER_ERROR, CIRCUIT_OPEN [NETWORK]: the server is not there, no
longer, or ill. MCP_TOOL_ERROR, MCP_UNKNOWN_TOOL, MCP_UNKNOWN_RESOURCE, MCP_INVALID_MESSAGE,
INVALID_MCP_CONFIG [VALIDATION]. MCP_TIMEOUT [TIMEOUT].
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

import mcp_types as types
from mcp_types import CallToolResult, TextContent
from qicore.base import ErrorCategory, QiError

from mcp import MCPError

__all__ = [
    "TOLD",
    "connect_failed",
    "disconnected",
    "invalid_message",
    "is_disconnection",
    "is_session_gone",
    "text_of",
    "timed_out",
    "to_error",
    "tool_error",
]

TOLD: Final = "qicore/error"
"""The entry of a failed tool's metadata that holds code and category. There, since structured content must
fit the tool's output schema: there are clients that check it though the call failed."""


class _Row(NamedTuple):
    code: str
    category: ErrorCategory
    message: str


_NETWORK: Final = ErrorCategory.NETWORK
_VALIDATION: Final = ErrorCategory.VALIDATION

_LOST: Final = _Row("MCP_DISCONNECTED", _NETWORK, "the connection to the server was lost")
_LATE: Final = _Row("MCP_TIMEOUT", ErrorCategory.TIMEOUT, "no answer in time")
_REFUSED: Final = _Row("MCP_INVALID_MESSAGE", _VALIDATION, "")
_NO_MESSAGE: Final = _Row("MCP_INVALID_MESSAGE", _VALIDATION, "the server's answer is none of the protocol")
# The codes of JSON-RPC 2.0 and of the protocol; where there is no message, the server's own says more.
_RPC: Final[Mapping[int, _Row]] = {
    types.CONNECTION_CLOSED: _LOST,
    types.REQUEST_TIMEOUT: _LATE,
    types.PARSE_ERROR: _REFUSED,
    types.INVALID_REQUEST: _REFUSED,
    types.METHOD_NOT_FOUND: _REFUSED,
    types.INVALID_PARAMS: _REFUSED,
    -32002: _Row("MCP_UNKNOWN_RESOURCE", _VALIDATION, ""),  # resource not found, up to 2025-11-25
}
_UNKNOWN_TOOL: Final = re.compile(r"unknown tool|tool\b.*\bnot found|no such tool", re.IGNORECASE)
_UNKNOWN_RESOURCE: Final = re.compile(r"unknown resource|resource\b.*\bnot found", re.IGNORECASE)
_SHOWN: Final = 1000


def to_error(exception: BaseException, **context: object) -> QiError:
    """Return the error for what the SDK raised; an unforeseen exception is UNKNOWN and is kept.

    >>> str(to_error(MCPError(-32000, "Connection closed"), operation="tools/call"))
    'NETWORK/MCP_DISCONNECTED: tools/call: the connection to the server was lost'
    """
    leaf = next(_leaves(exception))
    if isinstance(leaf, QiError):
        return leaf.with_context(context)
    if isinstance(leaf, MCPError):
        return _rpc_error(leaf, context)
    name = type(leaf).__name__
    if name == "ValidationError" or isinstance(leaf, UnicodeDecodeError | RecursionError):
        return _error(_NO_MESSAGE, context)
    if isinstance(leaf, RuntimeError) and "structured content" in str(leaf):
        # What the SDK raises when a result does not fit the tool's own output schema.
        return _error(
            _NO_MESSAGE._replace(message="the result does not fit the tool's output schema"), context
        )
    if name == "InputRequiredRoundsExceededError":
        return _error(_NO_MESSAGE._replace(message="the server asks for input without end"), context)
    if isinstance(leaf, TimeoutError):
        return _error(_LATE, context)
    if isinstance(leaf, OSError) or type(leaf).__module__.split(".")[0] in {"httpx2", "httpcore2", "anyio"}:
        return _error(_LOST, {**context, "reason": name})
    if isinstance(leaf, Exception):
        return QiError.from_exception(leaf).with_context(context)
    return _error(_LOST, context)


def connect_failed(exception: BaseException | str, **context: object) -> QiError:
    """MCP_CONNECT_FAILED [NETWORK]: no connection came about."""
    if isinstance(exception, str):
        return _error(_Row("MCP_CONNECT_FAILED", _NETWORK, exception), context)
    leaf = next(_leaves(exception))
    if isinstance(leaf, QiError):
        return leaf
    reason = type(leaf).__name__
    if isinstance(leaf, OSError) and leaf.strerror:
        text = f"the server can't be started: {leaf.strerror}"
    elif isinstance(leaf, MCPError) and leaf.code == types.CONNECTION_CLOSED:
        text = "the server ended before it answered"
    elif isinstance(leaf, MCPError):
        text = f"the server refused: {_short(leaf.message)}"
    elif reason == "ConnectError":
        text = "the server can't be reached"
    else:
        text = f"no connection could be made ({reason})"
    return _error(_Row("MCP_CONNECT_FAILED", _NETWORK, text), {**context, "reason": reason})


def disconnected(message: str = _LOST.message, **context: object) -> QiError:
    """MCP_DISCONNECTED [NETWORK]."""
    return _error(_LOST._replace(message=message), context)


def timed_out(seconds: float, **context: object) -> QiError:
    """MCP_TIMEOUT [TIMEOUT]."""
    row = _LATE._replace(message=f"no answer within {seconds:g} s")
    return _error(row, {**context, "timeout": seconds})


def invalid_message(message: str, **context: object) -> QiError:
    """MCP_INVALID_MESSAGE [VALIDATION]: what was given, or what came, is no message of the protocol."""
    return _error(_Row("MCP_INVALID_MESSAGE", _VALIDATION, message), context)


def tool_error(tool: str, result: CallToolResult) -> QiError:
    """MCP_TOOL_ERROR [VALIDATION], or MCP_UNKNOWN_TOOL: the tool was called and says that it failed.

    The tool's own words are the message. Those of a server of qicore have a code, `tool_code` in the context.
    """
    text = _short(" ".join(part.text for part in result.content if isinstance(part, TextContent)).strip())
    code = "MCP_UNKNOWN_TOOL" if _UNKNOWN_TOOL.search(text) and tool in text else "MCP_TOOL_ERROR"
    context: dict[str, object] = {"tool": tool}
    said: Any = (result.meta or {}).get(TOLD)
    if hasattr(said, "get") and isinstance(said.get("code"), str):
        context["tool_code"] = said.get("code")
        context["tool_category"] = said.get("category")
    return QiError.validation(code, f"{tool}: {text or 'the tool failed'}", **context)


def text_of(error: QiError) -> str:
    r"""Return what the other side is told of an error: code and message, never the context.

    >>> text_of(QiError.filesystem("NO_SUCH_FILE", "there is no b\udcffd.txt"))
    'NO_SUCH_FILE: there is no b\\udcffd.txt'
    """
    # A message may quote the name of a file that is no Unicode.
    return f"{error.code}: {error.message}".encode("utf-8", "backslashreplace").decode()


def is_disconnection(exception: BaseException) -> bool:
    """Whether this says that the connection is of no use any more."""
    leaf = next(_leaves(exception))
    if isinstance(leaf, MCPError):
        return leaf.code == types.CONNECTION_CLOSED or is_session_gone(leaf)
    return not isinstance(leaf, Exception) or to_error(leaf).code == "MCP_DISCONNECTED"


def is_session_gone(exception: BaseException) -> bool:
    """Whether the server does not know the session, since it began anew: the request was not carried out.

    It says so with the status 404 (specification of 2025-11-25, session management); the words are those of
    the SDK's server and client.
    """
    return isinstance(exception, MCPError) and exception.message in {
        "Session terminated",
        "Session not found",
    }


def _rpc_error(error: MCPError, context: Mapping[str, object]) -> QiError:
    row = _RPC.get(error.code, _Row("MCP_SERVER_ERROR", _NETWORK, ""))
    told = _short(error.message)
    if "SSE stream failed" in told:  # which is what the SDK makes of a message above its bound
        row = _REFUSED
    elif is_disconnection(error):
        row = _LOST
    elif _UNKNOWN_TOOL.search(told):
        row = _REFUSED._replace(code="MCP_UNKNOWN_TOOL")
    elif _UNKNOWN_RESOURCE.search(told):
        row = _REFUSED._replace(code="MCP_UNKNOWN_RESOURCE")
    return _error(row._replace(message=row.message or told), {**context, "rpc_code": error.code})


def _error(row: _Row, context: Mapping[str, object]) -> QiError:
    facts = {key: value for key, value in context.items() if value is not None}
    where = facts.get("operation")
    return QiError.create(row.code, f"{where}: {row.message}" if where else row.message, row.category, facts)


def _leaves(exception: BaseException) -> Iterator[BaseException]:
    if isinstance(exception, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exception)
        for each in group.exceptions:
            yield from _leaves(each)
    else:
        yield exception


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
