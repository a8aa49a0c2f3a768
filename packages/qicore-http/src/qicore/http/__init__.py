"""HTTP client whose every request gives a Result, on httpx.

>>> from qicore.http import HTTPClient, HTTPConfig
>>> HTTPClient.create(HTTPConfig(timeout=5)).is_success
True
"""

from qicore.http.auth import BearerAuth
from qicore.http.client import HTTPClient
from qicore.http.config import HTTPConfig
from qicore.http.decode import ReadsJSON, decode_json
from qicore.http.events import EventOptions, EventStream, SyncEventStream
from qicore.http.request import RequestOptions
from qicore.http.sse import ServerSentEvent
from qicore.http.store import ResponseCache, Store
from qicore.http.stream import HTTPStream
from qicore.http.sync_client import SyncHTTPClient
from qicore.http.sync_stream import SyncHTTPStream

__all__ = [
    "BearerAuth",
    "EventOptions",
    "EventStream",
    "HTTPClient",
    "HTTPConfig",
    "HTTPStream",
    "ReadsJSON",
    "RequestOptions",
    "ResponseCache",
    "ServerSentEvent",
    "Store",
    "SyncEventStream",
    "SyncHTTPClient",
    "SyncHTTPStream",
    "decode_json",
]
