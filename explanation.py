"""What ``Scheduler.explain`` answers: one instant of one event, accounted for; frozen values.

``sentences`` says it in two to six plain English sentences; the other fields are the same as data,
with the rows of the ledger that it rests on.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
import pendulum

from kalends.model import EventStatus, Execution, Fate, Gap, JournalEntry, Reason
from kalends.triggers import Why

__all__ = ["Explanation", "LimitHolder", "LimitUse", "StandIn", "Standing"]


class Standing(StrEnum):
    """How the account of an event stands at one instant."""

    RAN = "ran"
    """It was begun: its fate, or that it still runs, is in ``execution``."""
    PENDING = "pending"
    """It has an execution that has not begun: claimed, or waiting."""
    SKIPPED = "skipped"
    """It never ran; ``reason`` says why."""
    FOLDED = "folded"
    """Its fate is known; retention has folded the details into ``gap``."""
    WAITING = "waiting"
    """It is due and has no fate yet."""
    EXPECTED = "expected"
    """It will be due."""
    PARKED = "parked"
    """It is or will be due by the rule, but the event is paused or quarantined."""
    NOT_DUE = "not_due"
    """The rule does not say this instant; ``why`` says what of it does not."""
    UNACCOUNTED = "unaccounted"
    """It lies before the event's account begins."""
    DELETED = "deleted"
    """The event was deleted before it."""
    MISSING = "missing"
    """It was due and the ledger lacks its fate: ``verify`` tells of it too."""


class LimitHolder(msgspec.Struct, frozen=True, kw_only=True):
    """An execution that holds a place of a named limit."""

    execution_id: str
    event_id: str
    event_name: str
    due: pendulum.DateTime
    node: str
    since: pendulum.DateTime
    """When it was claimed."""


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """A named limit as it is when somebody asks."""

    name: str
    places: int | None
    """How many there are; None where the settings of the process that answers lack the limit."""
    held: int
    holders: tuple[LimitHolder, ...]
    """Who holds them, the longest first; the first ``MAX_HOLDERS`` of them."""


class StandIn(msgspec.Struct, frozen=True, kw_only=True):
    """The instant that a coalesced one was left to, as it stands when somebody asks."""

    due: pendulum.DateTime
    fate: Fate | None = None
    """None where the ledger has nothing on it, or no longer."""
    reason: Reason | None = None
    began: bool = False
    """Whether an attempt is known to have begun."""
    execution_id: str | None = None
    """None where it has no execution: it was skipped, or retention has folded it."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why an instant ran, or did not, or what will become of it."""

    event_id: str
    event_name: str
    event_status: EventStatus
    instant: pendulum.DateTime
    standing: Standing
    why: Why
    """What the rule that was in force says of the instant, and the nearest due ones around it."""
    rule: str
    """That rule, as it is written."""
    fate: Fate | None = None
    reason: Reason | None = None
    execution: Execution | None = None
    gap: Gap | None = None
    into: StandIn | None = None
    """Of what was coalesced: the instant that was to run for it, and what became of that one."""
    decided_at: pendulum.DateTime | None = None
    """When the fate was written, or the execution claimed."""
    node: str | None = None
    """The process that decided, where that is known."""
    lease_ended_at: pendulum.DateTime | None = None
    """When the lease of the process that holds the execution ended, where it has."""
    policies: dict[str, Any] = {}
    """The policies that decided, with the values they had then."""
    limit: LimitUse | None = None
    """The named limit of the event, where the instant waits or will be due."""
    journal: tuple[JournalEntry, ...] = ()
    """What happened to the event, to processes and to time itself that bears on it, oldest
    first."""
    sentences: tuple[str, ...] = ()

    @property
    def due(self) -> bool:
        """Whether the rule says this instant."""
        return self.why.due

    def __str__(self) -> str:
        return " ".join(self.sentences)
