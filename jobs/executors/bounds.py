"""How many tasks an executor may run at once, how many may wait, and how many do."""

from __future__ import annotations

import msgspec

from kalends.errors import ValidationFailed

__all__ = ["LARGEST_QUEUE", "QUEUE_LIMIT", "ExecutorStatus", "check_bound"]

QUEUE_LIMIT = 20_000
"""How many tasks may wait for an executor where nobody says."""
LARGEST_QUEUE = 10_000_000


def check_bound(value: object, path: str, low: int, high: int) -> int:
    """``value``, a whole number in the range. Raises ``ValidationFailed``."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValidationFailed(f"{path} must be a whole number from {low:,} to {high:,}", path=path)
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
