"""Serve ASGI applications: in this process or in supervised workers, reloaded without dropping a request.

>>> from qicore.asgi import Server, ServerConfig
>>> Server.create("service:app", ServerConfig(workers=2, port=70000)).error.message
'port must be a whole number from 0 to 65535'
"""

from qicore.asgi.apps import ASGIApp
from qicore.asgi.config import ServerConfig
from qicore.asgi.server import Server
from qicore.asgi.state import Health, ServerState, Statistics, WorkerInfo, WorkerState

__all__ = [
    "ASGIApp",
    "Health",
    "Server",
    "ServerConfig",
    "ServerState",
    "Statistics",
    "WorkerInfo",
    "WorkerState",
]
