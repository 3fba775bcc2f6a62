"""The words of the ledger as values: what the API returns and what is written down.

All structs are frozen. Instants are UTC ``pendulum.DateTime``; durations and lateness are seconds.
The statuses and fates, and which may follow which, stand here in one table each; the docs draw
theirs from these."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec
import pendulum

from kalends.policies import Policies
from kalends.triggers import Transition, Trigger

__all__ = [
    "EVENT_TRANSITIONS",
    "FATE_TRANSITIONS",
    "OPEN_FATES",
    "Attempt",
    "Event",
    "EventStatus",
    "Execution",
    "Failure",
    "Fate",
    "Gap",
    "JournalEntry",
    "JournalKind",
    "LogLine",
    "NextSkipped",
    "Page",
    "Reason",
]

T = TypeVar("T")


class EventStatus(StrEnum):
    """Whether an event is looked at when something is due."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    """Its rule has ended: nothing will be due again."""
    QUARANTINED = "quarantined"
    """It could not be carried out (unknown job, unreadable definition); the journal has the
    evidence.
    """
    DELETED = "deleted"
    """A tombstone: the definition is gone from lists, the history stays."""


EVENT_TRANSITIONS: dict[str, dict[EventStatus, EventStatus]] = {
    "pause": {
        EventStatus.ACTIVE: EventStatus.PAUSED,
        EventStatus.PAUSED: EventStatus.PAUSED,
    },
    "resume": {EventStatus.PAUSED: EventStatus.ACTIVE},
    "skip_next": {EventStatus.ACTIVE: EventStatus.ACTIVE},
    "move_next": {EventStatus.ACTIVE: EventStatus.ACTIVE},
    "trigger_now": {
        status: status for status in (EventStatus.ACTIVE, EventStatus.PAUSED, EventStatus.COMPLETED)
    },
    "backfill": {
        status: status for status in (EventStatus.ACTIVE, EventStatus.PAUSED, EventStatus.COMPLETED)
    },
    "complete": {EventStatus.ACTIVE: EventStatus.COMPLETED},
    "quarantine": {
        EventStatus.ACTIVE: EventStatus.QUARANTINED,
        EventStatus.PAUSED: EventStatus.QUARANTINED,
        EventStatus.COMPLETED: EventStatus.QUARANTINED,
    },
    "release": {EventStatus.QUARANTINED: EventStatus.ACTIVE},
    "reschedule": {
        EventStatus.ACTIVE: EventStatus.ACTIVE,
        EventStatus.PAUSED: EventStatus.PAUSED,
        EventStatus.COMPLETED: EventStatus.ACTIVE,
        EventStatus.QUARANTINED: EventStatus.ACTIVE,
    },
    "delete": {
        status: EventStatus.DELETED for status in EventStatus if status != EventStatus.DELETED
    },
}
"""For each verb, the statuses it applies to and what they become.

Anything else is ``TransitionError``.
"""


class Fate(StrEnum):
    """Where an execution is, or where it ended."""

    PENDING = "pending"
    """Claimed, or waiting for an attempt; not known to have begun."""
    RUNNING = "running"
    """Known to have begun. Written soon after the start, so a short job may never show it."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"
    """Its process died, and no further attempt is allowed."""
    SKIPPED = "skipped"
    """It never ran; the reason says why."""


_ENDS = frozenset(
    {Fate.SUCCEEDED, Fate.FAILED, Fate.TIMED_OUT, Fate.CANCELLED, Fate.LOST, Fate.SKIPPED}
)

FATE_TRANSITIONS: dict[Fate, frozenset[Fate]] = {
    Fate.PENDING: frozenset({Fate.RUNNING}) | _ENDS,
    Fate.RUNNING: frozenset({Fate.PENDING}) | (_ENDS - {Fate.SKIPPED}),
    **dict.fromkeys(_ENDS, frozenset()),
}
"""Which fate may follow which.

An execution that is to be attempted again is ``pending`` until then.
"""

OPEN_FATES = (Fate.PENDING, Fate.RUNNING)


class Reason(StrEnum):
    """Why an instant was skipped, an execution was lost, or its last failure was the last."""

    MISSED = "missed"
    COALESCED = "coalesced"
    OVERLAP = "overlap"
    PAUSED = "paused"
    EXCLUDED_ONCE = "excluded_once"
    QUEUE_FULL = "queue_full"
    QUARANTINED = "quarantined"
    SUPERSEDED = "superseded"
    EXHAUSTED = "exhausted"
    PROCESS_DIED = "process_died"
    DELETED = "deleted"
    REQUESTED = "requested"


class JournalKind(StrEnum):
    """What the journal tells: what happened to definitions, to processes and to time itself."""

    EVENTS_CREATED = "events_created"
    EVENT_UPDATED = "event_updated"
    EVENT_PAUSED = "event_paused"
    EVENT_RESUMED = "event_resumed"
    EVENT_DELETED = "event_deleted"
    EVENT_SKIPPED = "event_skipped"
    EVENT_MOVED = "event_moved"
    EVENT_BACKFILLED = "event_backfilled"
    BACKFILL_CANCELLED = "backfill_cancelled"
    EVENT_TRIGGERED = "event_triggered"
    EVENT_QUARANTINED = "event_quarantined"
    EVENT_RELEASED = "event_released"
    EXECUTION_CANCELLED = "execution_cancelled"
    NODE_STARTED = "node_started"
    NODE_STOPPED = "node_stopped"
    NODE_DIED = "node_died"
    DOWNTIME = "downtime"
    SUSPENDED = "suspended"
    CLOCK_JUMPED = "clock_jumped"
    ZONES_CHANGED = "zones_changed"
    ACTOR_CRASHED = "actor_crashed"
    ACTOR_RESTARTED = "actor_restarted"
    HISTORY_PRUNED = "history_pruned"
    FILES_CLEANED = "files_cleaned"


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stored definition: what job to run, when, under which policies."""

    id: str
    name: str
    job: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    trigger: Trigger
    policies: Policies
    tags: tuple[str, ...]
    status: EventStatus
    note: str | None
    """Why it has this status, where somebody said so; else the note of its definition."""
    declared_by: str | None = None
    """The application whose code declares it; None where it was made by a call."""
    paused_until: pendulum.DateTime | None = None
    """When its pause ends by itself, where it does."""
    next_due: pendulum.DateTime | None
    """The first instant without a fate, or None where nothing will be due."""
    accounted_from: pendulum.DateTime
    """From here on every due instant has its fate in the ledger."""
    version: int
    """Grows with every change of the definition; ``update_event`` may name the one it expects."""
    created_at: pendulum.DateTime
    updated_at: pendulum.DateTime
    warnings: tuple[Transition, ...] = ()
    """The changes of the clock that its rule meets within a year, and what will happen there; for
    whoever schedules it or changes its trigger, and empty where it is only read."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, as text: no object of the job's is kept alive or stored."""

    type: str
    message: str
    traceback: str = ""


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line that a job logged."""

    at: pendulum.DateTime
    level: str
    """``debug``, ``info``, ``warning``, ``error``, ``critical``, or a level of the host's own."""
    message: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at running an execution; numbered from 1 without holes."""

    number: int
    node: str | None
    claimed_at: pendulum.DateTime
    started_at: pendulum.DateTime | None
    ended_at: pendulum.DateTime | None
    outcome: Fate
    error: Failure | None
    still_running: bool = False
    """True where it has ended in the ledger and its job has not: it timed out, say."""
    progress: float | None = None
    """How far its job said it was, last: 0 to 1; None where it never said."""
    note: str | None = None
    """What it said with that."""
    log: tuple[LogLine, ...] = ()
    """The last lines it logged, oldest first, as many as the settings keep. Empty in lists, and so
    is the number below: ``get_execution`` has both.
    """
    log_dropped: int = 0
    """How many lines came before these and were not kept."""


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One due instant of one event, with its fate."""

    id: str
    event_id: str
    due: pendulum.DateTime
    fate: Fate
    reason: Reason | None
    attempts: tuple[Attempt, ...]
    node: str | None
    claimed_at: pendulum.DateTime
    started_at: pendulum.DateTime | None
    ended_at: pendulum.DateTime | None
    lateness: float | None
    """Seconds from the due instant (or ``moved_to``) to the start of the first attempt known to
    have begun."""
    duration: float | None
    """Seconds the last attempt ran."""
    result: Any
    result_note: str | None
    """Why the job's result could not be stored, where it could not."""
    error: Failure | None
    manual: bool
    """True where somebody asked for it, outside of the rule."""
    ready_at: pendulum.DateTime | None = None
    """While it waits for an attempt: from when on that may begin."""
    moved_to: pendulum.DateTime | None = None
    """When it was to begin instead of at its due instant, where somebody moved it."""
    priority: int = 0
    limit_name: str | None = None
    """The named limit that it counts towards."""
    backfill: str | None = None
    """The id of the backfill it belongs to, where somebody asked for past instants."""
    cancel_requested: bool = False
    """True where its job is to stop, or was: for a newer instant, or because somebody asked."""
    still_running: bool = False
    """True while its job runs on although its fate is written: a thread cannot be stopped."""
    version: int
    """The version of the event it was claimed under."""

    @property
    def progress(self) -> float | None:
        """How far the job of its last attempt said it was: 0 to 1, or None."""
        return self.attempts[-1].progress if self.attempts else None

    @property
    def note(self) -> str | None:
        """What it said with that."""
        return self.attempts[-1].note if self.attempts else None


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A span of due instants that share one fate without a row each."""

    event_id: str
    first: pendulum.DateTime
    last: pendulum.DateTime
    count: int
    fate: Fate
    reason: Reason | None
    """Why it was skipped; None for executions that ran and whose rows retention has folded into
    this span.
    """
    into: pendulum.DateTime | None
    """For ``coalesced``: the instant that ran for them."""
    version: int
    recorded_at: pendulum.DateTime
    node: str | None = None
    """The process that decided last on what the span tells; None: that is not known any more."""


class NextSkipped(msgspec.Struct, frozen=True, kw_only=True):
    """What ``skip_next`` did: the event as it is now, and the instants that will not run."""

    event: Event
    instants: tuple[pendulum.DateTime, ...]


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal. ``details`` are JSON values whose keys depend on the kind."""

    id: str
    at: pendulum.DateTime
    kind: JournalKind
    event_id: str | None
    node: str | None
    author: str | None
    note: str | None
    details: dict[str, Any]


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list.

    Pass ``cursor`` to the same call for the next page; None: this was the last.
    """

    items: tuple[T, ...]
    cursor: str | None
