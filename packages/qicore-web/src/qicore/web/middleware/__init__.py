"""Ready-made middleware, for `WebApp.use` and groups.

Some are functions over handlers, which see Results; others are pure ASGI middleware, which see what is sent.

>>> from qicore.web import WebApp
>>> from qicore.web.middleware import access_log, request_id, security_headers, timeout
>>> app = WebApp()
>>> app.use(request_id(), access_log(exclude=["/health/"]), security_headers(), timeout(10))
"""

from qicore.web.middleware.access import access_log
from qicore.web.middleware.body_limits import body_limit
from qicore.web.middleware.cache_stores import BytesStore
from qicore.web.middleware.cached import response_cache
from qicore.web.middleware.compress import compression
from qicore.web.middleware.cross_origin import cors
from qicore.web.middleware.hosts import trusted_hosts
from qicore.web.middleware.rates import rate_limit
from qicore.web.middleware.request_ids import RequestIdFilter, current_request_id, request_id
from qicore.web.middleware.secure_headers import security_headers
from qicore.web.middleware.time_limits import timeout

__all__ = [
    "BytesStore",
    "RequestIdFilter",
    "access_log",
    "body_limit",
    "compression",
    "cors",
    "current_request_id",
    "rate_limit",
    "request_id",
    "response_cache",
    "security_headers",
    "timeout",
    "trusted_hosts",
]
