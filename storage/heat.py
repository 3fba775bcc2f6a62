"""Counting runs by the hour, and finding the instants that many events share: arithmetic on rules.

A rule is counted once for all events that have it. One that is due once an hour or less is followed
from instant to instant; one that is due oftener is asked for the count of each hour, which costs
the same for a rule of every second.

Which instants are busiest is found among those of the rules that are followed, and the first few of
the others; how many events are due there is then counted over all. Instants are tracked as Misra
and Gries do it (1982): up to ``TRACKED`` of them exactly, and beyond that none is missed that more
than one in ``TRACKED`` runs fall on. So memory is bounded, whatever is scheduled.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice

import msgspec

from kalends.clock import MAX_US, US, from_us
from kalends.errors import ValidationFailed
from kalends.outlook import Collision, HeatHour, HeatMap, NextRun
from kalends.triggers import Trigger
from kalends.triggers.local import DAY_US
from kalends.triggers.zone import zone

__all__ = ["MAX_SHOWN", "TRACKED", "WALKED", "Heat", "HeatRange"]

WALKED = 200
"""Instants that any rule is followed through; a rule of every hour always is."""
TRACKED = 50_000
"""Different instants that are kept in mind."""
MAX_SHOWN = 20
"""Events that a collision names."""
_GROUPED = 4_096
"""Different rules that are collected before the first of them are counted."""
_AT_ONCE = 256
"""Rules that are counted in one step."""
_OFTEN = 200
"""Rules that are not followed and count when the busiest instants are looked for."""
_CANDIDATES = 1_000
"""Instants that those rules are asked about."""
_HOUR_US = 3_600 * US


class HeatRange(msgspec.Struct, frozen=True):
    """The time of a heat map, ``since <= instant < until``, and whose hours it shows."""

    since: int
    until: int
    tz: str

    @classmethod
    def ahead(cls, now: int, days: int, tz: str) -> HeatRange:
        """The next so many days of 24 hours, as far as there is time."""
        return cls(now, min(now + days * DAY_US, MAX_US), tz)

    def hours(self) -> list[tuple[int, str, int]]:
        """Where each hour begins, its day and its number, by the wall clock of the zone."""
        there, found, at = zone(self.tz), [], self.since
        while at < self.until:
            spans = there.until(at)
            index = spans.index(at)
            local = at + spans.offsets[index]
            found.append((at, from_us(local).to_date_string(), local % DAY_US // _HOUR_US))
            end = at + _HOUR_US - local % _HOUR_US
            if index + 1 < len(spans.starts):
                end = min(end, spans.starts[index + 1])
            at = end
        return found


class _Tracker:
    """How much falls on each instant: the instants with most of it are sure to be kept."""

    def __init__(self) -> None:
        self.weights: dict[int, int] = {}

    def add(self, instant: int, weight: int) -> None:
        weights = self.weights
        if instant in weights:
            weights[instant] += weight
        elif len(weights) < TRACKED:
            weights[instant] = weight
        else:
            least = min(weights.values())
            taken = min(weight, least)
            self.weights = {at: left - taken for at, left in weights.items() if left > taken}
            if weight > taken:
                self.weights[instant] = weight - taken


class _Often(msgspec.Struct, frozen=True):
    """A rule that is due too often to be followed, and how many events have it."""

    rule: Trigger
    start: int
    weight: int

    def at(self, instant: int) -> int:
        """How many events are due by it at ``instant``."""
        due = instant >= self.start and _next(self.rule, instant - 1) == instant
        return self.weight if due else 0


class Heat:
    """Takes in rules and gives out a heat map: ``count`` all events, and then what is waiting;
    ``settle``; ``find`` them.
    """

    def __init__(self, within: HeatRange, busiest: int) -> None:
        self._range = within
        self._cells = within.hours()
        self._edges = [*(at for at, _, _ in self._cells), within.until]
        self._runs = [0] * len(self._cells)
        self._busiest = busiest
        self._events = 0
        self._waiting: dict[tuple[Trigger, int], int] = {}
        self._tracker = _Tracker()
        self._often: list[_Often] = []
        self._found: dict[int, list[NextRun]] = {}
        self._counts: dict[int, int] = {}
        self._shared: dict[Trigger, tuple[int, ...]] = {}

    def count(self, rule: Trigger, next_due: int) -> None:
        """Add the runs of an event that is due from ``next_due`` on."""
        first = _next(rule, self._range.since - 1)
        if first is None or max(first, next_due) >= self._range.until:
            return
        self._events += 1
        # Nearly all events have no fate yet for anything ahead: those that share a rule are one.
        key = (rule, first if next_due <= first else next_due)
        self._waiting[key] = self._waiting.get(key, 0) + 1
        if len(self._waiting) >= _GROUPED:
            self.count_waiting()

    def count_waiting(self) -> bool:
        """Count the first of the rules that have been collected; False where none is left."""
        for key in list(islice(self._waiting, _AT_ONCE)):
            (rule, start), weight = key, self._waiting.pop(key)
            with suppress(ValidationFailed):  # as far as a rule is followed that gives up a search
                if rule.count_us(start, self._range.until) > max(WALKED, len(self._cells)):
                    self._count_hours(rule, start, weight)
                else:
                    self._follow(rule, start, weight)
        return bool(self._waiting)

    def _follow(self, rule: Trigger, start: int, weight: int) -> None:
        for instant in rule.between_us(start, self._range.until):
            self._runs[bisect_right(self._edges, instant) - 1] += weight
            self._tracker.add(instant, weight)

    def _count_hours(self, rule: Trigger, start: int, weight: int) -> None:
        for cell in range(bisect_right(self._edges, start) - 1, len(self._cells)):
            low = max(start, self._edges[cell])
            self._runs[cell] += weight * rule.count_us(low, self._edges[cell + 1])
        if len(self._often) < _OFTEN:
            self._often.append(_Often(rule, start, weight))

    # -- the busiest instants ------------------------------------------------------------------

    def settle(self) -> bool:
        """All rules are counted: choose the busiest instants. False where there is none."""
        kept = self._tracker.weights
        likely = set(heapq.nlargest(_CANDIDATES, kept, key=lambda at: (kept[at], -at)))
        for often in self._often:
            likely.update(islice(often.rule.between_us(often.start, self._range.until), 5))
        weights = {at: self._weight(at) for at in likely}
        shared = [at for at in likely if weights[at] > 1]
        chosen = heapq.nlargest(self._busiest, shared, key=lambda at: (weights[at], -at))
        self._found = {at: [] for at in chosen}
        self._counts = dict.fromkeys(chosen, 0)
        return bool(chosen)

    def _weight(self, instant: int) -> int:
        kept = self._tracker.weights.get(instant, 0)
        return kept + sum(often.at(instant) for often in self._often)

    def find(self, rule: Trigger, next_due: int, run_at: Callable[[int], NextRun]) -> None:
        """Note an event, known by the run that it has at an instant, at those of the busiest
        instants at which it is due.
        """
        shared = self._shared.get(rule)
        if shared is None:
            if len(self._shared) >= _GROUPED:
                self._shared.clear()
            shared = tuple(at for at in self._found if _next(rule, at - 1) == at)
            self._shared[rule] = shared
        for instant in shared:
            if instant >= next_due:
                self._counts[instant] += 1
                if len(self._found[instant]) < MAX_SHOWN:
                    self._found[instant].append(run_at(instant))

    def map(self) -> HeatMap:
        """What has been counted and found."""
        within = self._range
        return HeatMap(
            since=from_us(within.since),
            until=from_us(within.until),
            tz=within.tz,
            events=self._events,
            runs=sum(self._runs),
            hours=tuple(self._hours()),
            busiest=tuple(self._collisions()),
        )

    def _hours(self) -> Iterable[HeatHour]:
        for place, (since, day, hour) in enumerate(self._cells):
            yield HeatHour(
                since=from_us(since),
                until=from_us(self._edges[place + 1]),
                day=day,
                hour=hour,
                runs=self._runs[place],
            )

    def _collisions(self) -> Iterable[Collision]:
        for instant in sorted(self._counts, key=lambda at: (-self._counts[at], at)):
            if self._counts[instant] > 1:  # it was more when it was chosen, and events change
                yield Collision(
                    instant=from_us(instant),
                    count=self._counts[instant],
                    events=tuple(self._found[instant]),
                )


def _next(rule: Trigger, after: int) -> int | None:
    """The next instant; None also where the rule gives up its search: its event is quarantined when
    it comes to that.
    """
    try:
        return rule.next_us(after)
    except ValidationFailed:
        return None
