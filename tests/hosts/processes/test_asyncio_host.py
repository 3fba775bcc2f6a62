"""Beside an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., dict[str, Any]]


def test_an_asyncio_loop_is_never_blocked_by_the_scheduler(run: Run) -> None:
    told = run("asyncio_app.py")
    gaps = told.pop("gaps")
    assert max(gaps.values()) < 1.0, gaps
    assert told == {
        "created": 200,
        "counts": [201],
        "cancelled": ["cancelled", "timed out", "asked"],
        "refused": "EVENT_NOT_FOUND",
        "state": "stopped",
        "orphan": ["orphan", "orphan"],
    }
