"""The keywords of the calls that take many: what editors complete and type checkers hold calls to.

They describe; the checks themselves are in ``definitions`` and ``validation``. Instants are aware
datetimes. Whatever is left out has its default; what is refused is a ``ValidationFailed``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypedDict

from kalends.drafts import OnConflict
from kalends.model import EventStatus, Fate, JournalKind
from kalends.policies import CatchUp, Delivery, Overlap, RetryBackoff
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


class PolicyFields(TypedDict, total=False):
    """The policies of an event; each is explained in ``policies.Policies``. Times in seconds."""

    catch_up: CatchUp | str
    catch_up_window: float
    catch_up_limit: int
    overlap: Overlap | str
    buffer_limit: int
    concurrency_limit: str | None
    priority: int
    delivery: Delivery | str
    max_attempts: int
    retries: int
    retry_delay: float
    retry_backoff: RetryBackoff | str
    retry_max_delay: float
    retry_jitter: float
    retry_on: Collection[str]
    give_up_on: Collection[str]
    timeout: float | None
    pause_after_failures: int | None
    executor: str | None


class EventFields(PolicyFields, total=False):
    """What an event has beside its job and its trigger."""

    name: str | None
    args: Sequence[Any]
    kwargs: dict[str, Any] | None
    tags: Collection[str]
    note: str | None


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
