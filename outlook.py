"""What lies ahead, and what lies behind that should not: next runs, heat map, overdue; as values.

Only the rules of active events are asked, from each event's ``next_due`` on. What a policy will
make of an instant (an overlap, a pause) is known when it is due, not before."""

from __future__ import annotations

from enum import StrEnum

import msgspec
import pendulum

__all__ = ["Collision", "HeatHour", "HeatMap", "NextRun", "Overdue", "OverdueCause"]


class NextRun(msgspec.Struct, frozen=True, kw_only=True):
    """One instant at which one event is due, or one execution that waits for an attempt."""

    event_id: str
    name: str
    job: str
    instant: pendulum.DateTime
    """In the past where the event is behind: its first instant without a fate."""
    delay: float
    """Seconds after the instant at which it is to begin: by its jitter, or because it was moved
    (less than 0.0 where that is to an earlier time) or waits to be attempted again."""
    execution_id: str | None = None
    """The execution that waits; None where the instant has none yet."""


class HeatHour(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one hour by the wall clock: ``since <= instant < until``.

    Shorter at both ends of the map, and where the clock changes by less than an hour. An hour that
    the clock repeats is there twice, one that it skips is not.
    """

    since: pendulum.DateTime
    until: pendulum.DateTime
    day: str
    """The day by the map's time zone, as in ``2027-03-28``."""
    hour: int
    """The hour of that day, 0 to 23."""
    runs: int


class Collision(msgspec.Struct, frozen=True, kw_only=True):
    """An instant at which several events are due."""

    instant: pendulum.DateTime
    count: int
    events: tuple[NextRun, ...]
    """The events, by id; the first ``MAX_SHOWN`` of them."""


class HeatMap(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs each hour will bring, and the instants that bring most at once."""

    since: pendulum.DateTime
    until: pendulum.DateTime
    tz: str
    events: int
    """How many active events there are that are due in this time."""
    runs: int
    hours: tuple[HeatHour, ...]
    """Every hour in order, those without runs included."""
    busiest: tuple[Collision, ...]
    """The instants at which most events are due, the most first; those of two events or more."""


class OverdueCause(StrEnum):
    """Why something that should have had its fate by now has none, as far as the ledger shows."""

    NO_NODE = "no_node"
    """No process that runs events is alive."""
    NOT_CLAIMED = "not_claimed"
    """A process is alive and has not claimed it: it is behind, or cannot write to the database."""
    NODE_DIED = "node_died"
    """The lease of the process that holds it has ended, and nobody has freed it yet."""
    NOT_BEGUN = "not_begun"
    """A living process holds it and has not begun: no worker is free, or the event still runs."""
    PARKED = "parked"
    """It was begun before, nobody holds it, and its event is paused or quarantined."""


class Overdue(msgspec.Struct, frozen=True, kw_only=True):
    """What should have had a fate by now: an instant of an event, or an open execution."""

    event_id: str
    name: str
    job: str
    due: pendulum.DateTime
    since: pendulum.DateTime
    """When it should have gone on: the instant (with its jitter), or the end of a lease."""
    cause: OverdueCause
    execution_id: str | None
    """None where the instant has not been claimed at all."""
    node: str | None
    """Who holds the execution, or held it."""
