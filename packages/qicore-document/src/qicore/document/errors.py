"""What goes wrong in a template, as a QiError: one table, read once, at the boundary.

| raised by jinja2 or Python             | code                     | category   |
|----------------------------------------|--------------------------|------------|
| TemplateNotFound                       | TEMPLATE_NOT_FOUND       | FILESYSTEM |
| UnreadableTemplate, from our loader    | TEMPLATE_UNREADABLE      | FILESYSTEM |
| TemplateSyntaxError                    | TEMPLATE_SYNTAX          | VALIDATION |
| UndefinedError                         | TEMPLATE_UNDEFINED       | VALIDATION |
| SecurityError                          | TEMPLATE_UNSAFE          | VALIDATION |
| RecursionError, MemoryError            | TEMPLATE_LIMIT_EXCEEDED  | VALIDATION |
| any other TemplateError                | TEMPLATE_INVALID         | VALIDATION |
| a QiError out of a filter or the data  | its own                  | its own    |
| anything else                          | TEMPLATE_ERROR           | UNKNOWN    |

jinja2's errors of rendering carry no line; the traceback does, in the frames of compiled templates.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, NamedTuple

from jinja2 import Template, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from jinja2.debug import rewrite_traceback_stack
from jinja2.exceptions import SecurityError
from qicore.base import ErrorCategory, QiError

__all__ = [
    "Place",
    "UnreadableTemplate",
    "find_place",
    "limit_exceeded",
    "timed_out",
    "translate",
    "translate_rendering",
]


class UnreadableTemplate(TemplateError):  # noqa: N818 - named as jinja2 names its own
    """A template that is there and can't be read."""

    def __init__(self, name: str, error: Exception) -> None:
        why = getattr(error, "strerror", None) or str(error)
        super().__init__(f"the template {name!r} can't be read: {why}")


class Place(NamedTuple):
    """Where in which template."""

    template: str | None
    line: int | None


def find_place(traceback: TracebackType | None) -> Place:
    """Return the innermost place in a template that the traceback passes."""
    place = Place(None, None)
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            place = Place(template.name, template.get_corresponding_lineno(traceback.tb_lineno))
        traceback = traceback.tb_next
    return place


def translate_rendering(exception: Exception, name: str) -> QiError:
    """Return the error for what rendering the template `name` raised; to be called in the except block.

    The exception is kept as the cause, with a traceback that shows the lines of templates, as jinja2 makes
    it.
    """
    place = find_place(exception.__traceback__)
    if not isinstance(exception, (RecursionError, MemoryError, QiError)):
        rewrite_traceback_stack()
    return translate(exception, Place(place.template or name, place.line))


def translate(exception: Exception, place: Place) -> QiError:
    """Return the error for `exception`, raised at `place`."""
    where: dict[str, object] = {"template": place.template}
    if place.line is not None:
        where["line"] = place.line
    at = f" (line {place.line} of {place.template})" if place.line is not None else ""
    match exception:
        case QiError():
            return exception.with_context({**where, **exception.context})
        case TemplateNotFound():
            wanted = str(exception.name or ", ".join(map(str, getattr(exception, "templates", ()))))
            error = QiError.filesystem(
                "TEMPLATE_NOT_FOUND", f"there is no template {wanted!r}{at}", **{**where, "name": wanted}
            )
        case TemplateSyntaxError():
            name = exception.name or place.template
            error = QiError.validation(
                "TEMPLATE_SYNTAX",
                f"{exception.message} (line {exception.lineno} of {name})",
                template=name,
                line=exception.lineno,
            )
        case UnreadableTemplate():
            error = QiError.filesystem("TEMPLATE_UNREADABLE", f"{exception}{at}", **where)
        case SecurityError():
            error = QiError.validation("TEMPLATE_UNSAFE", f"{exception}{at}", **where)
        case UndefinedError():
            missing = getattr(exception, "undefined_name", None)
            named = {} if missing is None else {"name": str(missing)}
            error = QiError.validation("TEMPLATE_UNDEFINED", f"{exception}{at}", **where, **named)
        case RecursionError():
            return _kept(
                limit_exceeded("depth", f"templates or macros nest too deeply{at}", **where), exception
            )
        case MemoryError():
            return _kept(
                limit_exceeded("memory", f"the rendering takes too much memory{at}", **where), exception
            )
        case TemplateError():
            error = QiError.validation("TEMPLATE_INVALID", f"{exception}{at}", **where)
        case _:
            text = _text(exception)
            error = QiError.unknown(
                "TEMPLATE_ERROR",
                f"{type(exception).__name__}: {text}{at}",
                **where,
                exception=type(exception).__name__,
            )
    return _kept(error, exception)


def limit_exceeded(limit: str, message: str, **context: object) -> QiError:
    """Return the error for a template that takes more of `limit` than it may."""
    return QiError.validation("TEMPLATE_LIMIT_EXCEEDED", message, limit=limit, **context)


def timed_out(seconds: float, **context: object) -> QiError:
    """Return the error for a template that takes too long."""
    return QiError(
        "TEMPLATE_TIMEOUT",
        f"the template was not rendered within {seconds:g} s",
        ErrorCategory.TIMEOUT,
        {"timeout": seconds, **context},
    )


def _kept(error: QiError, exception: Exception) -> QiError:
    error.__cause__ = exception
    return error


def _text(exception: Any) -> str:
    try:
        return str(exception)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the exception itself
        return "no message"
