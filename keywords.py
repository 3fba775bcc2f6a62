"""The keywords of the calls that take many: what editors complete and type checkers hold calls to.

They describe; the checks themselves are in ``definitions`` and ``validation``. Instants are aware
datetimes. Whatever is left out has its default; what is refused is a ``ValidationFailed``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from kalends.drafts import OnConflict
from kalends.event_fields import EventFields, PolicyFields
from kalends.model import EventStatus, Fate, JournalKind
from kalends.triggers import Trigger

__all__ = [
    "DueConditions",
    "EventChanges",
    "EventConditions",
    "EventFields",
    "ExecutionConditions",
    "GapConditions",
    "HeatOptions",
    "JournalConditions",
    "NewEvent",
    "PolicyFields",
]


class NewEvent(EventFields, total=False):
    """The keywords of ``schedule_event``."""

    on_conflict: OnConflict | str
    author: str | None


class EventChanges(EventFields, total=False):
    """The keywords of ``update_event``. ``args`` and ``kwargs`` change together."""

    job: Any
    trigger: Trigger


class EventConditions(TypedDict, total=False):
    """Which events, by all conditions together; ``name`` may hold ``*`` and ``?``."""

    status: EventStatus | str | None
    tag: str | None
    job: str | None
    name: str | None
    declared_by: str | None
    due_from: datetime | None
    due_until: datetime | None
    sort: str
    descending: bool
    limit: int
    cursor: str | None


class DueConditions(TypedDict, total=False):
    """Which instants ahead: up to ``limit``, before ``until``, of which active events."""

    limit: int
    until: datetime | None
    tag: str | None
    job: str | None
    name: str | None


class HeatOptions(TypedDict, total=False):
    """A heat map: the zone of its hours, how many of the busiest instants, which events."""

    tz: str
    busiest: int
    tag: str | None
    job: str | None
    name: str | None


class ExecutionConditions(TypedDict, total=False):
    """Which executions, by all conditions together: ``since <= due < until``."""

    event_id: str | None
    fate: Fate | str | None
    since: datetime | None
    until: datetime | None
    manual: bool | None
    backfill: str | None
    descending: bool
    limit: int
    cursor: str | None


class GapConditions(TypedDict, total=False):
    """Which gaps: those that touch ``since <= instant < until``."""

    event_id: str | None
    since: datetime | None
    until: datetime | None
    limit: int
    cursor: str | None


class JournalConditions(TypedDict, total=False):
    """Which journal entries, newest first."""

    event_id: str | None
    kind: JournalKind | str | None
    since: datetime | None
    until: datetime | None
    limit: int
    cursor: str | None
