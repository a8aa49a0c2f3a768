"""Cache in memory, in a file and on Redis, whose every operation gives a Result.

>>> from qicore.cache import CacheConfig
>>> CacheConfig(ttl=60).check().is_success
True
"""

from qicore.cache.cache import Cache, Factory
from qicore.cache.config import CacheConfig
from qicore.cache.serializers import MessagePackSerializer, Serializer
from qicore.cache.statistics import CacheStatistics

__all__ = ["Cache", "CacheConfig", "CacheStatistics", "Factory", "MessagePackSerializer", "Serializer"]
