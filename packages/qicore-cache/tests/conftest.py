"""What the tests of the cache share."""

from qicore_testkit.redis_server import bundled_redis, redis_server, redis_url

__all__ = ["bundled_redis", "redis_server", "redis_url"]
