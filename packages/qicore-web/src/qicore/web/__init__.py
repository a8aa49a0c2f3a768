"""Web services whose handlers answer Results, on FastAPI.

>>> from qicore.base import Failure, QiError, Result, Success
>>> from qicore.web import WebApp
>>> app = WebApp()
>>> @app.get("/users/{number}", errors=["USER_NOT_FOUND"])
... async def user(number: int) -> Result[dict[str, str]]:
...     if number != 1:
...         return Failure(QiError.validation("USER_NOT_FOUND", f"there is no user {number}"))
...     return Success({"name": "Ann"})
"""

from qicore.web.app import WebApp
from qicore.web.config import WebConfig
from qicore.web.handlers import Handler, Middleware, compose
from qicore.web.health import HealthCheck
from qicore.web.levels import ErrorHandler
from qicore.web.problems import ProblemResponse, problem_response
from qicore.web.routes import Group, Resolver
from qicore.web.static import StaticDirectory

__all__ = [
    "ErrorHandler",
    "Group",
    "Handler",
    "HealthCheck",
    "Middleware",
    "ProblemResponse",
    "Resolver",
    "StaticDirectory",
    "WebApp",
    "WebConfig",
    "compose",
    "problem_response",
]
