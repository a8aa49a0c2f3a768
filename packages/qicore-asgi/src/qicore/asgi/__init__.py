"""ASGI server with supervised workers and rolling reload, on uvicorn.

>>> from qicore.asgi import Asgi, AsgiConfig
>>> Asgi.create(AsgiConfig(timeout=5)).is_success
True
"""

from qicore.asgi.client import Asgi
from qicore.asgi.config import AsgiConfig

__all__ = ["Asgi", "AsgiConfig"]
