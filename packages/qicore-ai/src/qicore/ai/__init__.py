"""LLM client whose every call gives a Result, on ollama.

>>> from qicore.ai import Ai, AiConfig
>>> Ai.create(AiConfig(timeout=5)).is_success
True
"""

from qicore.ai.client import Ai
from qicore.ai.config import AiConfig

__all__ = ["Ai", "AiConfig"]
