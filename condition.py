"""What does not work in a system, while the rest does: the reasons for ``degraded``."""

from __future__ import annotations

from collections.abc import Callable

from kalends.logs import get_log
from kalends.storage.workers import Health

__all__ = ["Condition"]

_log = get_log()


class Condition:
    """The troubles of one system. ``on_change(degraded)`` is called, on any thread, where there may
    be news.
    """

    def __init__(self, health: Health, on_change: Callable[[str | None], None]) -> None:
        self._health = health
        self._on_change = on_change
        self._housekeeping_trouble: str | None = None
        self._housekeeping_over: str | None = None
        health.on_change = self._changed

    @property
    def degraded(self) -> str | None:
        """What does not work; or None."""
        if self._health.reason is not None:
            return f"the database refuses transactions: {self._health.reason}"
        return self._housekeeping_over or self._housekeeping_trouble

    def housekeeping_over(self, reason: str) -> None:
        """The housekeeper has given up."""
        # Kept apart: a round that was under way may still end well.
        self._housekeeping_over = f"the housekeeper has given up: {reason}"
        _log.error("scheduler_degraded", reason=self._housekeeping_over)
        self._changed()

    def housekeeping_told(self, trouble: str | None) -> None:
        """What the last round of housekeeping could not do, or None."""
        if trouble is not None and trouble != self._housekeeping_trouble:
            _log.error("scheduler_degraded", reason=trouble)
        self._housekeeping_trouble = trouble
        self._changed()

    def _changed(self) -> None:
        self._on_change(self.degraded)
