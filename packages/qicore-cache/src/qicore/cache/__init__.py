"""Cache in memory, in a file and on Redis, whose every operation gives a Result.

>>> from qicore.cache import Cache, CacheConfig
>>> cache = Cache.create_memory(CacheConfig(ttl=60)).unwrap()
>>> cache.set("user:7", "Ada")
Success(None)
>>> cache.get("user:7")
Success('Ada')
>>> str(cache.get("user:8").error)
'CACHE/KEY_NOT_FOUND: there is no value at this key'
"""

from qicore.cache.cache import Cache, Factory
from qicore.cache.config import CacheConfig
from qicore.cache.memory import MemoryCache
from qicore.cache.serializers import JSONSerializer, MessagePackSerializer, PickleSerializer, Serializer
from qicore.cache.statistics import CacheStatistics

__all__ = [
    "Cache",
    "CacheConfig",
    "CacheStatistics",
    "Factory",
    "JSONSerializer",
    "MemoryCache",
    "MessagePackSerializer",
    "PickleSerializer",
    "Serializer",
]
