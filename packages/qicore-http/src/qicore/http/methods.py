"""What the methods of HTTP promise."""

from __future__ import annotations

from typing import Final

__all__ = ["IDEMPOTENT"]

IDEMPOTENT: Final = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))
"""Twice is as good as once (RFC 9110, section 9.2.2)."""
