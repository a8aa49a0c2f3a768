"""Web framework whose handlers answer Results, on FastAPI.

>>> from qicore.web import Web, WebConfig
>>> Web.create(WebConfig(timeout=5)).is_success
True
"""

from qicore.web.client import Web
from qicore.web.config import WebConfig

__all__ = ["Web", "WebConfig"]
