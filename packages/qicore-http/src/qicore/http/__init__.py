"""HTTP client whose every request gives a Result, on httpx.

>>> from qicore.http import Http, HttpConfig
>>> Http.create(HttpConfig(timeout=5)).is_success
True
"""

from qicore.http.client import Http
from qicore.http.config import HttpConfig

__all__ = ["Http", "HttpConfig"]
