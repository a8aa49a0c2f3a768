"""Circuit breaker, retry and the other policies around a call, each giving a Result.

>>> from qicore.resilience import Resilience, ResilienceConfig
>>> Resilience.create(ResilienceConfig(timeout=5)).is_success
True
"""

from qicore.resilience.client import Resilience
from qicore.resilience.config import ResilienceConfig

__all__ = ["Resilience", "ResilienceConfig"]
