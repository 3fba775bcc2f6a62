"""Which events, executions, gaps or journal entries a question is about: values, already checked.

Instants are integer microseconds UTC. A cursor is what the page before ended with."""

from __future__ import annotations

import msgspec

from kalends.model import EventStatus, Fate

__all__ = ["EventQuery", "ExecutionQuery", "GapQuery", "JournalQuery"]


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events: all conditions together. ``name`` may hold ``*`` and ``?``."""

    status: EventStatus | None = None
    """None: every status but deleted."""
    tag: str | None = None
    job: str | None = None
    name: str | None = None
    declared_by: str | None = None
    due_from: int | None = None
    due_until: int | None = None
    sort: str = "created_at"
    descending: bool = False
    limit: int = 50
    cursor: str | None = None


class ExecutionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which executions, by all conditions together.

    ``since <= due < until``; newest first unless told.
    """

    event_id: str | None = None
    fate: Fate | None = None
    since: int | None = None
    until: int | None = None
    manual: bool | None = None
    backfill: str | None = None
    """The id of a backfill."""
    descending: bool = True
    limit: int = 50
    cursor: str | None = None


class GapQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which gaps: those of one event or of all that touch ``since <= instant < until``."""

    event_id: str | None = None
    since: int | None = None
    until: int | None = None
    limit: int = 50
    cursor: str | None = None


class JournalQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which journal entries, newest first."""

    event_id: str | None = None
    kind: str | None = None
    since: int | None = None
    until: int | None = None
    limit: int = 50
    cursor: str | None = None
