"""What ``Scheduler.reconcile`` answers: declared events held against the stored ones; frozen
values.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from kalends.logs import get_log
from kalends.model import EventStatus

__all__ = ["DeclaredAction", "DeclaredEvent", "Reconciliation"]

_log = get_log()


class DeclaredAction(StrEnum):
    """What became of one declared event, or would."""

    CREATED = "created"
    """It was not there."""
    UPDATED = "updated"
    """It was there with other values: what the code says is what holds."""
    RESUMED = "resumed"
    """It is declared again, after a reconciliation had paused it; its values may have changed,
    too."""
    KEPT = "kept"
    """It was there as it is declared."""
    PAUSED = "paused"
    """It is declared no longer."""
    ABSENT = "absent"
    """It is declared no longer, and was not active: it stays as it is."""
    REFUSED = "refused"
    """An event that this application has not declared has its name; ``code`` and ``message`` say
    more."""


class DeclaredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a reconciliation."""

    name: str
    action: DeclaredAction
    event_id: str | None = None
    """None where it would be created."""
    status: EventStatus = EventStatus.ACTIVE
    """The event's, afterwards: what is kept may be quarantined, say, or paused by somebody."""
    before: dict[str, Any] = {}
    """The fields that change, as they were; of the policies those that differ."""
    after: dict[str, Any] = {}
    """The same fields, as they are declared."""
    code: str | None = None
    message: str | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """The fields that the code has changed."""
        return tuple(sorted(self.after))


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """The declared events of one application, by name."""

    application: str
    dry_run: bool
    """True where nothing was changed."""
    events: tuple[DeclaredEvent, ...] = ()

    def names(self, action: DeclaredAction | str) -> tuple[str, ...]:
        """The names of the events of which this became."""
        return tuple(event.name for event in self.events if event.action == action)

    def log(self) -> None:
        """Log what was changed, and what was refused."""
        for event in self.refused:
            _log.error(
                "declared_event_refused",
                event_name=event.name,
                code=event.code,
                error=event.message,
            )
        if self.changes:
            _log.info(
                "schedules_reconciled",
                application=self.application,
                created=list(self.names(DeclaredAction.CREATED)),
                updated=list(self.names(DeclaredAction.UPDATED)),
                resumed=list(self.names(DeclaredAction.RESUMED)),
                paused=list(self.names(DeclaredAction.PAUSED)),
            )

    @property
    def changes(self) -> tuple[DeclaredEvent, ...]:
        """What is not as it was: all but what was kept, absent or refused."""
        still = (DeclaredAction.KEPT, DeclaredAction.ABSENT, DeclaredAction.REFUSED)
        return tuple(event for event in self.events if event.action not in still)

    @property
    def refused(self) -> tuple[DeclaredEvent, ...]:
        """What could not be carried out."""
        return tuple(event for event in self.events if event.action is DeclaredAction.REFUSED)
