"""What executors are made of: how many tasks may run at once, how many may wait, for how long, and
under which name; and how many do.
"""

from __future__ import annotations

import math
from contextvars import Context

import msgspec

from kalends.errors import ValidationFailed

__all__ = [
    "LARGEST_QUEUE",
    "QUEUE_LIMIT",
    "ExecutorStatus",
    "check_bound",
    "check_context",
    "check_name",
    "check_seconds",
]

QUEUE_LIMIT = 20_000
"""How many tasks may wait for an executor where nobody says."""
LARGEST_QUEUE = 10_000_000


def check_bound(value: object, path: str, low: int, high: int) -> int:
    """``value``, a whole number in the range. Raises ``ValidationFailed``."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValidationFailed(f"{path} must be a whole number from {low:,} to {high:,}", path=path)
    return value


def check_seconds(value: object, path: str, low: float, high: float) -> float:
    """``value``, a number of seconds in the range. Raises ``ValidationFailed``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValidationFailed(f"{path} must be a number of seconds", path=path)
    if not low <= value <= high:
        raise ValidationFailed(f"{path} must lie between {low:g} and {high:,g}", path=path)
    return float(value)


def check_name(value: object, path: str = "name") -> str:
    """``value``, the name of an executor. Raises ``ValidationFailed``."""
    if not (isinstance(value, str) and value.isprintable() and 1 <= len(value.strip()) <= 200):
        raise ValidationFailed("an executor's name has 1 to 200 printable characters", path=path)
    return value


def check_context(value: object) -> Context | None:
    """``value``, where jobs find their context variables. Raises ``ValidationFailed``."""
    if value is not None and not isinstance(value, Context):
        raise ValidationFailed("context must be a contextvars.Context or None", path="context")
    return value


class ExecutorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An executor as it is now."""

    name: str
    capacity: int
    """How many jobs can run at once."""
    running: int
    queue_limit: int
    """How many can wait for a place."""
    queued: int
