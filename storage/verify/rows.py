"""One row by itself: its words, its holder, its attempts, and what goes with which fate."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from kalends.clock import US
from kalends.errors import ValidationFailed
from kalends.model import OPEN_FATES, EventStatus, Fate, Reason
from kalends.policies import Delivery
from kalends.storage.rows import load_policies
from kalends.storage.verify.parts import Attempt, Event, Execution, Findings, Gap, at
from kalends.verification import ViolationKind

__all__ = ["LEGAL_REASONS", "UNNOTICED_US", "RowCheck"]

K = ViolationKind
_FATES = frozenset(Fate)
_REASONS = frozenset(Reason)
_STATUSES = frozenset(EventStatus)
_BEGUN = frozenset({Fate.SUCCEEDED, Fate.FAILED, Fate.TIMED_OUT})
"""Fates that only what was begun can have."""

UNNOTICED_US = US
"""How far a clock may jump without an entry in the journal."""

LEGAL_REASONS: dict[Fate, frozenset[Reason | None]] = {
    Fate.PENDING: frozenset({None}),
    Fate.RUNNING: frozenset({None}),
    Fate.SUCCEEDED: frozenset({None}),
    Fate.FAILED: frozenset({None, Reason.EXHAUSTED}),
    Fate.TIMED_OUT: frozenset({None, Reason.EXHAUSTED}),
    Fate.CANCELLED: frozenset({None, *Reason}),
    Fate.LOST: frozenset({Reason.PROCESS_DIED, Reason.EXHAUSTED}),
    Fate.SKIPPED: frozenset(set(Reason) - {Reason.PROCESS_DIED, Reason.REQUESTED}),
}
"""Which reasons may go with a fate."""


class RowCheck(msgspec.Struct, frozen=True):
    """What the rows of one slice are held against."""

    findings: Findings
    leases: Mapping[str, int]
    """Node and end of its lease."""
    lease_from: int
    """A lease that ended before this instant is not live."""
    node: str | None
    """This process's own, which is alive whatever its lease says."""
    jumped: Callable[[int, int], bool]
    """Whether the journal has a jump of the clock around a time."""

    def event(self, item: Event) -> None:
        """Its status is one."""
        if item.status not in _STATUSES:
            self.findings.add(K.WORD, item.id, f"{item.status!r} is no status", item)

    def gap(self, item: Gap, event: Event) -> None:
        """Fate and reason are words that go together, of something that has ended."""
        self._words(item, item.fate, item.reason)
        if item.fate in OPEN_FATES:
            self.findings.add(K.COMBINATION, item.event_id, "a gap that has not ended", item)
        if (item.reason == Reason.COALESCED) != (item.into is not None):
            words = f"its reason is {item.reason}, and it goes into {at(item.into)}"
            self.findings.add(K.COMBINATION, item.event_id, words, item)
        self._version(item, event)

    def execution(self, item: Execution, event: Event, earlier: tuple[int, int]) -> None:
        """``earlier``: how many rows it has among the attempts, and their largest number."""
        known = self._words(item, item.fate, item.reason)
        self._version(item, event)
        if known:
            if item.ended_at is None:
                self._open(item)
            else:
                self._ended(item)
        if item.still_running and (item.ended_at is None or item.node is None):
            words = "it is said to run although it has ended, and it has not ended on any node"
            self.findings.add(K.COMBINATION, item.event_id, words, item)
        self._attempts(item, event, earlier)
        begins = item.due if item.moved_to is None else item.moved_to
        # One that somebody asked for makes way for an instant of the rule after it has begun.
        self._order(item, item.event_id, None if item.manual else begins, item)

    def attempt(self, item: Attempt, execution: Execution) -> None:
        """One that was followed by another has ended, and not by being skipped."""
        event_id = execution.event_id
        if item.outcome not in _FATES:
            self.findings.add(K.WORD, event_id, f"{item.outcome!r} is no fate", item)
        elif item.outcome in (*OPEN_FATES, Fate.SKIPPED) or item.ended_at is None:
            words = f"attempt {item.number} was followed by another, and is {item.outcome}"
            self.findings.add(K.COMBINATION, event_id, words, item)
        if item.started_at is not None and item.node is None:
            words = f"attempt {item.number} began, and no node had claimed it"
            self.findings.add(K.UNCLAIMED, event_id, words, item)
        if item.still_running and (item.ended_at is None or item.node is None):
            words = f"attempt {item.number} is said to run on, and has not ended on any node"
            self.findings.add(K.COMBINATION, event_id, words, item)
        self._order(item, event_id, None, item, execution)

    # -- parts ---------------------------------------------------------------------------------

    def _words(self, item: Execution | Gap, fate: str, reason: str | None) -> bool:
        if fate not in _FATES:
            self.findings.add(K.WORD, item.event_id, f"{fate!r} is no fate", item)
            return False
        if reason is not None and reason not in _REASONS:
            self.findings.add(K.WORD, item.event_id, f"{reason!r} is no reason", item)
        elif reason not in LEGAL_REASONS[Fate(fate)]:
            words = f"the fate is {fate}, and the reason is {reason}"
            self.findings.add(K.COMBINATION, item.event_id, words, item)
        return True

    def _version(self, item: Execution | Gap, event: Event) -> None:
        if not 1 <= item.version <= event.version:
            words = f"it is of version {item.version}, and the event is at {event.version}"
            self.findings.add(K.VERSION, item.event_id, words, item, event)

    def _open(self, item: Execution) -> None:
        add, event_id = self.findings.add, item.event_id
        if item.fate not in OPEN_FATES:
            add(K.ENDED_WITHOUT_END, event_id, f"it is {item.fate}, and has no end", item)
        if item.node is None:
            if item.fate == Fate.RUNNING or item.started_at is not None:
                add(K.UNCLAIMED, event_id, "it has begun, and no node holds it", item)
            if item.ready_at is None:
                add(K.NEVER_READY, event_id, "nobody holds it, and it is never ready", item)
            return
        if item.attempt < 1:
            words = f"{item.node} holds it, for no attempt"
            add(K.UNCLAIMED, event_id, words, item)
        if (item.fate == Fate.RUNNING) != (item.started_at is not None):
            words = f"it is {item.fate}, and began at {at(item.started_at)}"
            add(K.COMBINATION, event_id, words, item)
        lease = self.leases.get(item.node)
        if lease is None:
            add(K.HOLDER_GONE, event_id, f"{item.node} holds it, and has no lease", item)
        elif lease < self.lease_from and item.node != self.node:
            words = f"{item.node} holds it, and its lease ended at {at(lease)}"
            add(K.HOLDER_GONE, event_id, words, item)

    def _ended(self, item: Execution) -> None:
        add, event_id = self.findings.add, item.event_id
        if item.fate in OPEN_FATES:
            words = f"it is {item.fate}, and ended at {at(item.ended_at)}"
            add(K.OPEN_WITH_END, event_id, words, item)
        if item.fate in _BEGUN and (item.node is None or item.attempt < 1):
            words = f"it is {item.fate}, and no node had claimed it"
            add(K.UNCLAIMED, event_id, words, item)
        if (item.fate in _BEGUN and item.started_at is None) or (
            item.fate == Fate.SKIPPED and item.started_at is not None
        ):
            words = f"it is {item.fate}, and began at {at(item.started_at)}"
            add(K.COMBINATION, event_id, words, item)

    def _attempts(self, item: Execution, event: Event, earlier: tuple[int, int]) -> None:
        count, last = earlier
        held = item.node is not None and item.fate != Fate.SKIPPED
        wanted = item.attempt - 1 if held else item.attempt
        if item.attempt < 0 or (count, last) != (max(wanted, 0), max(wanted, 0)):
            words = (
                f"it is at attempt {item.attempt}, and has {count} earlier ones, the last numbered "
                f"{last}"
            )
            self.findings.add(K.ATTEMPTS, item.event_id, words, item)
        if item.attempt > 1 and item.version == event.version and _at_most_once(event.policies):
            words = f"it is at attempt {item.attempt}, and delivery is at most once"
            self.findings.add(K.AT_MOST_ONCE, item.event_id, words, item, event)

    def _order(
        self,
        item: Execution | Attempt,
        event_id: str,
        begins: int | None,
        *rows: Execution | Attempt,
    ) -> None:
        """Claimed, begun, ended; and not begun before it was due."""
        started, ended = item.started_at, item.ended_at
        if started is None:
            return
        if (item.fate if isinstance(item, Execution) else item.outcome) not in _BEGUN:
            # Its own process has not ended it: lost, or called off, it has the end of whoever
            # noticed or wanted that, by another clock, or by this one after it was set unseen.
            ended = None
        early = begins is not None and started < begins - UNNOTICED_US
        backwards = started < item.claimed_at - UNNOTICED_US or (
            ended is not None and ended < started - UNNOTICED_US
        )
        if early or backwards:
            known = [item.claimed_at, started, *(us for us in (begins, ended) if us is not None)]
            if not self.jumped(min(known), max(known)):
                words = (
                    f"claimed at {at(item.claimed_at)}, begun at {at(started)}, ended at "
                    f"{at(ended)}" + (f", due at {at(begins)}" if early else "")
                )
                self.findings.add(K.ORDER, event_id, words, *rows)


def _at_most_once(policies: str) -> bool:
    try:
        return load_policies(policies).delivery is Delivery.AT_MOST_ONCE
    except ValidationFailed:
        return False  # it will be quarantined when it is claimed
