"""MCP client and server in Results, on the official SDK.

>>> from qicore.mcp import Mcp, McpConfig
>>> Mcp.create(McpConfig(timeout=5)).is_success
True
"""

from qicore.mcp.client import Mcp
from qicore.mcp.config import McpConfig

__all__ = ["Mcp", "McpConfig"]
