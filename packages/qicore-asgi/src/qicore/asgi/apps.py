"""Finding the application that a server is to serve."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from qicore.asgi.errors import app_not_found
from qicore.base import Failure, Result, Success

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["ASGIApp", "load_app"]

ASGIApp: TypeAlias = "Callable[[Any, Any, Any], Awaitable[None]]"
"""An ASGI 3 application."""


def load_app(app: ASGIApp | str, *, app_dir: str, factory: bool) -> Result[ASGIApp]:
    """Return the application, imported where it is named `"module:attribute"`, or ASGI_APP_NOT_FOUND."""
    found: Any = app
    name = app if isinstance(app, str) else getattr(app, "__qualname__", type(app).__name__)
    if isinstance(app, str):
        imported = _imported(app, app_dir)
        if imported.error is not None:
            return imported
        found = imported.unwrap()
    if factory:
        try:
            found = found()
        except Exception as cause:  # noqa: BLE001 - the application's own code may raise anything
            return Failure(app_not_found(name, f"its factory raised {type(cause).__name__}", cause))
    if not callable(found):
        return Failure(app_not_found(name, f"{type(found).__name__} can't be called"))
    return Success(cast("ASGIApp", found))


def _imported(name: str, app_dir: str) -> Result[Any]:
    module_name, colon, attributes = name.partition(":")
    if not (module_name and colon and attributes):
        return Failure(app_not_found(name, 'it is named as "module:attribute"'))
    directory = str(Path(app_dir).resolve())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as cause:  # noqa: BLE001 - the application's own code may raise anything
        missing = isinstance(cause, ModuleNotFoundError) and cause.name == module_name
        reason = f"no module {module_name!r}" if missing else f"importing it raised {type(cause).__name__}"
        return Failure(app_not_found(name, reason, cause))
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError as cause:
            return Failure(app_not_found(name, f"no attribute {attribute!r} in {module_name}", cause))
    return Success(found)
