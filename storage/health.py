"""Whether a database can be used: what its last transaction met."""

from __future__ import annotations

from collections.abc import Callable

from kalends.errors import StorageUnavailable
from kalends.logs import get_log

__all__ = ["Health"]

_log = get_log()


class Health:
    """Whether the database took the last commit. ``reason`` is None when it did.

    A database that was found corrupt stays so until it is opened anew: a commit that happens to
    touch sound pages proves nothing.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.on_change: Callable[[], None] = _unheard
        """Called when the reason has changed."""
        self.corrupt: StorageUnavailable | None = None

    def update(self, error: StorageUnavailable | None) -> None:
        """Note the outcome of a transaction; a change is logged once."""
        reason = None if error is None else str(error.details.get("reason", "unknown"))
        if reason == "corrupt":
            self.corrupt = error
        if reason != self.reason:
            if error is not None:
                _log.error("storage_degraded", reason=reason, error=error.message)
            else:
                _log.info("storage_recovered", after=self.reason)
            self.reason = reason
            self.on_change()


def _unheard() -> None:
    """Nobody listens."""
