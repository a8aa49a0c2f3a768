"""HTTP client whose every request gives a Result, on httpx.

>>> from qicore.http import HTTPClient, HTTPConfig
>>> HTTPClient.create(HTTPConfig(timeout=5)).is_success
True
"""

from qicore.http.auth import BearerAuth
from qicore.http.client import HTTPClient
from qicore.http.config import HTTPConfig

__all__ = ["BearerAuth", "HTTPClient", "HTTPConfig"]
