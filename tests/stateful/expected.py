"""What must be there: events as plain records, whose instants are whole seconds counted by hand.

It knows no actor, no database and no trigger of the package. Jobs take no time, so every instant of
an active event has its fate at once; verbs come half a second after whole ones, so nothing that
matters happens at one moment. What a kill in the middle of a claim does to the instants of that
moment is not foretold but bounded: each of them has one of a few fates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

__all__ = ["FATES", "EventModel", "Rule"]

FATES = {"ok": "succeeded", "boom": "failed"}
"""The jobs, and how they end."""
BY_A_KILL = frozenset(
    {*FATES.values(), "coalesced", "overlap", "paused", "quarantined", "pending", "process_died"}
)
"""What may become of an instant at whose moment the process was killed. It is pending where its
event could not be carried out meanwhile, until that is back, and lost where it is deleted then."""


PUT_OFF = frozenset({*FATES.values(), "pending", "paused", "superseded", "deleted", "quarantined"})
"""What may become of an instant that was moved: it depends on what comes first."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """Seconds from the start: ``phase + k * period``, or ``phase`` alone where there is none."""

    phase: int
    period: int | None

    def first(self, after: int) -> int | None:
        """The first instant after one."""
        if self.period is None:
            return self.phase if self.phase > after else None
        return after + self.period - (after - self.phase) % self.period

    def within(self, after: int, upto: int) -> Iterator[int]:
        """The instants in ``after < instant <= upto``."""
        instant = self.first(after)
        while instant is not None and instant <= upto:
            yield instant
            instant = self.first(instant)


@dataclasses.dataclass
class EventModel:
    """One event; ``told`` is the last instant that has its fate, or the moment the rule began."""

    name: str
    job: str
    rule: Rule
    told: int
    tags: tuple[str, ...] = ()
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    note: str | None = None
    id: str = ""
    status: str = "active"
    until: int | None = None
    """When its pause ends by itself."""
    version: int = 1
    account: dict[int, frozenset[str]] = dataclasses.field(default_factory=dict)
    """What may have become of each instant; nearly always one thing."""
    journal: list[str] = dataclasses.field(default_factory=lambda: ["events_created"])
    manual: int = 0
    moved: dict[int, int] = dataclasses.field(default_factory=dict)
    """Which instant is to run in the second after which one instead."""
    rescheduled: bool = False
    shaken: bool = False
    """Whether a kill struck what it did, and no process has gone on with it yet."""
    doubtful: bool = False
    """Whether one ever has."""

    @property
    def due(self) -> int | None:
        """The first instant without a fate, where it may get one."""
        return None if self.status == "deleted" else self.rule.first(self.told)

    @property
    def plain(self) -> bool:
        """Whether what became of each of its instants is known, by one rule."""
        return not (self.rescheduled or self.doubtful or self.moved)

    def settle(self, instant: int, fate: str) -> None:
        """An instant gets its fate; after a kill, what waits to be attempted again may be in its
        way.
        """
        self.account[instant] = frozenset({fate, "overlap"} if self.doubtful else {fate})
        self.told = instant

    def skip(self, upto: int, reason: str) -> None:
        """All up to a moment are skipped."""
        for instant in self.rule.within(self.told, upto):
            self.settle(instant, reason)

    def changed(self, kind: str) -> None:
        """One change of the definition, and its line in the journal."""
        self.version += 1
        self.journal.append(kind)

    # -- time ----------------------------------------------------------------------------------

    def live(self, upto: int, gone: frozenset[str]) -> None:
        """A process runs it up to a moment; jobs in ``gone`` are not registered."""
        self._end_pause(upto)
        while self.status == "active" and self.due is not None and self.due <= upto:
            self._run(self.due, gone)

    def catch_up(self, now: int, gone: frozenset[str]) -> None:
        """A process begins: the latest instant runs, the others are coalesced into it."""
        self._end_pause(now)
        if self.status != "active":
            return
        missed = list(self.rule.within(self.told, now))
        for instant in missed[:-1]:
            self.settle(instant, "coalesced")
        if missed:
            self._run(missed[-1], gone)

    def _run(self, instant: int, gone: frozenset[str]) -> None:
        if self.job in gone:
            self.settle(instant, "quarantined")
            self.status = "quarantined"
            self.changed("event_quarantined")
            return
        self.settle(instant, FATES[self.job])
        if self.due is None:
            self.status = "completed"

    def _end_pause(self, upto: int) -> None:
        """A pause with an end covers the instants before that end."""
        if self.status == "paused" and self.until is not None and self.until <= upto:
            self.skip(self.until - 1, "paused")
            self._return("event_resumed")

    def _return(self, kind: str) -> None:
        self.status, self.until, self.note = "active", None, None
        self.changed(kind)
        if self.due is None:
            self.status = "completed"

    # -- verbs ---------------------------------------------------------------------------------

    def pause(self, until: int | None, note: str | None) -> None:
        """Allowed where it is active or paused."""
        self.status, self.until, self.note = "paused", until, note
        self.changed("event_paused")

    def back(self, now: int) -> None:
        """``resume`` of what is paused, ``release`` of what is quarantined."""
        paused = self.status == "paused"
        self.skip(now, "paused" if paused else "quarantined")
        self._return("event_resumed" if paused else "event_released")

    def leave_out(self, count: int) -> list[int]:
        """The next instants do not run."""
        left: list[int] = []
        while len(left) < count and self.due is not None:
            left.append(self.due)
            self.settle(self.due, "excluded_once")
        self.journal.append("event_skipped")
        if self.due is None:
            self.status = "completed"
        return left

    def move(self, to: int) -> int:
        """The next instant runs in the second after ``to``, unless something comes between."""
        assert self.due is not None
        self.moved[to] = instant = self.due
        self.told = instant
        self.account[instant] = PUT_OFF
        self.journal.append("event_moved")
        return instant

    def run_again(self, start: int, now: int) -> list[int]:
        """What of the past has not run does; of an event that is parked, soon."""
        if self.status == "paused":
            self.skip(now, "paused")
        ran = set(FATES.values())
        wanted = [
            at for at in self.rule.within(start - 1, now) if not self.account.get(at, set()) & ran
        ]
        for instant in wanted:
            later = PUT_OFF if self.status == "paused" else frozenset[str]()
            self.account[instant] = later | {FATES[self.job]}
        self.journal.append("event_backfilled")
        return wanted

    def reschedule(self, rule: Rule, now: int) -> None:
        """A new rule from now on; what waits by the old one is over."""
        self.account = {at: fate for at, fate in self.account.items() if at <= now}
        self.told = min(self.told, now)
        self.skip(now, "paused" if self.status == "paused" else "superseded")
        self.rule, self.told, self.rescheduled = rule, now, True
        if self.status != "paused":
            self.status = "active"

    def delete(self, now: int) -> None:
        """A tombstone."""
        self.account = {at: fate for at, fate in self.account.items() if at <= now}
        self.told = min(self.told, now)
        self.skip(now, "paused" if self.status == "paused" else "deleted")
        self.status, self.until, self.told = "deleted", None, now
        self.changed("event_deleted")

    # -- kills ---------------------------------------------------------------------------------

    def shake(self) -> None:
        """A kill struck when it had, or may have had, something to do."""
        self.shaken = True

    def unshake(self, now: int) -> bool:
        """A process has gone on with it: what may have become of its instants. True where it was
        shaken, and its status and version are to be read.
        """
        if not self.shaken:
            return False
        self.shaken, self.doubtful = False, True
        for instant in self.rule.within(self.told, now):
            self.account[instant] = BY_A_KILL
        self.told = max(self.told, now)
        return True
