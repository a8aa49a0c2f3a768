"""Cache in memory, in a file and on Redis, whose every operation gives a Result.

>>> from qicore.cache import Cache, CacheConfig
>>> Cache.create(CacheConfig(timeout=5)).is_success
True
"""

from qicore.cache.client import Cache
from qicore.cache.config import CacheConfig

__all__ = ["Cache", "CacheConfig"]
