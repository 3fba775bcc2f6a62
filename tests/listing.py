"""Lists as a whole, whatever number of pages they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["every_one"]


def every_one(ask: Callable[..., Any], **query: Any) -> list[Any]:
    """All items of a list, page by page."""
    found: list[Any] = []
    cursor = None
    while True:
        page = ask(**query, limit=1000, cursor=cursor)
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found
