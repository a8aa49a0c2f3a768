"""LLM client whose every call gives a Result, on ollama and any server that speaks OpenAI's API.

>>> from qicore.ai import LLMClient, LLMConfig
>>> LLMClient.create("ollama", LLMConfig(model="llama3.2", timeout=60)).is_success
True
"""

from qicore.ai.client import LLMClient
from qicore.ai.config import LLMConfig, Store
from qicore.ai.messages import Image, Message, Prompt, ToolCall
from qicore.ai.models import Models
from qicore.ai.provider import Answer, ChatRequest, Embedded, Finish, Provider, register_provider
from qicore.ai.responses import (
    ChatChunk,
    ChatResponse,
    EmbeddingResponse,
    ModelInfo,
    PullProgress,
    Timings,
    Usage,
)
from qicore.ai.stream import ChatStream
from qicore.ai.tools import Tool
from qicore.ai.turns import ToolRun

__all__ = [
    "Answer",
    "ChatChunk",
    "ChatRequest",
    "ChatResponse",
    "ChatStream",
    "Embedded",
    "EmbeddingResponse",
    "Finish",
    "Image",
    "LLMClient",
    "LLMConfig",
    "Message",
    "ModelInfo",
    "Models",
    "Prompt",
    "Provider",
    "PullProgress",
    "Store",
    "Timings",
    "Tool",
    "ToolCall",
    "ToolRun",
    "Usage",
    "register_provider",
]
