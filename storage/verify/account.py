"""The account of one event: every instant of its rules has one fate, and ``next_due`` follows.

The fates are gone through in order, executions and gaps in one line. Between each and the next the
rule is asked whether it has an instant, and each gap is counted by arithmetic: that shows that none
is missing, none is told twice and none is made up, at the cost of one step of the rule for each
row, however many instants a gap tells of. What lies before ``accounted_from`` needs no account.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kalends.clock import MAX_US, MIN_US
from kalends.model import EventStatus
from kalends.storage.accounts import readable_rule
from kalends.storage.verify.parts import Definition, Event, Execution, Findings, Gap, at
from kalends.triggers import Trigger
from kalends.verification import ViolationKind

__all__ = ["Account"]

K = ViolationKind


class _Span(msgspec.Struct, frozen=True):
    """A rule and the time it accounts for, ``since <= instant <= until``; no rule: unreadable."""

    rule: Trigger | None
    since: int
    until: int

    def first(self, start: int, end: int) -> int | None:
        """The first instant in ``start <= t < end``."""
        low, high = max(start, self.since, MIN_US), min(end, self.until + 1, MAX_US + 1)
        due = None if self.rule is None or low >= high else self.rule.next_us(low - 1)
        return due if due is not None and due < high else None

    def has(self, instant: int) -> bool:
        """Whether an instant that lies in the span is one of the rule's."""
        return self.rule is None or self.rule.next_us(instant - 1) == instant


class Account:
    """One event's time line, as far as ``told``: up to there its fates have been looked at."""

    def __init__(
        self,
        findings: Findings,
        event: Event,
        definitions: Sequence[Definition],
        told: int | None,
    ) -> None:
        self._findings = findings
        self._event = event
        start = max(event.accounted_from, MIN_US) - 1
        self.told = start if told is None else max(told, start)
        self._carried = None if told is None else self.told
        self._last: Execution | Gap | None = None
        self.end = _end(event)
        """The last instant that may have a fate."""
        self._spans = [_span(item.trigger, item.since, item.until) for item in definitions]
        if event.status != EventStatus.DELETED:
            self._spans.append(_span(event.trigger, event.rule_since, self.end))
        self._check_definitions(definitions)

    # -- definitions ---------------------------------------------------------------------------

    def _check_definitions(self, definitions: Sequence[Definition]) -> None:
        event = self._event
        expected: int | None = None
        for item in definitions:
            joined = item.since <= self.told + 1 if expected is None else item.since == expected
            if not joined or item.until < item.since or item.version >= event.version:
                words = f"the rule of version {item.version} does not follow the one before it"
                self._findings.add(K.DEFINITIONS, event.id, words, item, event)
            expected = item.until + 1
            if readable_rule(item.trigger) is None:
                words = f"the rule of version {item.version} cannot be read"
                self._findings.add(K.UNREADABLE, event.id, words, item)
        latest = event.rule_since if expected is None else expected
        if event.rule_since != latest or (expected is None and latest > self.told + 1):
            words = f"the present rule begins at {at(event.rule_since)}, not at {at(latest)}"
            if expected is None:
                words = f"nothing accounts for the time before {at(event.rule_since)}"
            self._findings.add(K.DEFINITIONS, event.id, words, event, *definitions[-1:])
        parked = event.status in (EventStatus.QUARANTINED, EventStatus.DELETED)
        if not parked and readable_rule(event.trigger) is None:
            self._findings.add(K.UNREADABLE, event.id, "its rule cannot be read", event)

    def _span_at(self, instant: int) -> _Span | None:
        for span in self._spans:
            if span.since <= instant <= span.until:
                return span
        return None

    # -- fates ---------------------------------------------------------------------------------

    def execution(self, item: Execution) -> None:
        """The next fate is an execution's."""
        if item.manual or item.due < self._event.accounted_from:
            return
        span = self._span_at(item.due)
        if not self._follows(item, item.due, item.due):
            return
        if span is None or not span.has(item.due):
            words = f"the rule is not due at {at(item.due)}"
            self._findings.add(K.NOT_DUE, item.event_id, words, item)

    def straddles(self, item: Gap) -> bool:
        """Whether a gap begins in what an earlier slice looked at: it may have grown since."""
        return self._carried is not None and item.first <= self.told == self._carried

    def gap(self, item: Gap, *, overlaps: bool = True) -> None:
        """The next fates are a gap's. ``overlaps``: where it begins before ``told``, whether that
        is because something else lies in it.
        """
        start = self._event.accounted_from
        if item.last < start:
            return
        if item.first < start:
            words = f"a gap begins before the account, which begins at {at(start)}"
            self._findings.add(K.BEFORE_ACCOUNT, item.event_id, words, item, self._event)
            self.told = max(self.told, item.last)
        elif self._follows(item, item.first, item.last, overlaps=overlaps):
            self._check_span(item)

    def _check_span(self, item: Gap) -> None:
        span = self._span_at(item.first)
        whole = (
            span is not None
            and item.first <= item.last <= span.until
            and span.has(item.first)
            and span.has(item.last)
        )
        if span is None or not whole:
            words = (
                f"a gap from {at(item.first)} to {at(item.last)}, which are not two instants of "
                "one rule"
            )
            self._findings.add(K.WRONG_SPAN, item.event_id, words, item)
            return
        count = item.count if span.rule is None else span.rule.count_us(item.first, item.last + 1)
        if count != item.count:
            words = f"a gap tells of {item.count} instants, and the rule has {count} in it"
            self._findings.add(K.WRONG_COUNT, item.event_id, words, item)

    def _follows(
        self, item: Execution | Gap, first: int, last: int, *, overlaps: bool = True
    ) -> bool:
        """Whether a fate is the next one. What lies between is missing; ``told`` moves on."""
        before, self._last = self._last, item
        told, self.told = self.told, min(max(self.told, last), MAX_US)
        if not MIN_US <= first <= last <= MAX_US:
            kind = K.NOT_DUE if isinstance(item, Execution) else K.WRONG_SPAN
            self._findings.add(kind, item.event_id, f"{first} to {last} µs is no time", item)
            return False
        if last > self.end:
            words = f"a fate at {at(last)}, and the account ends before that, at {at(self.end + 1)}"
            self._findings.add(K.AHEAD, item.event_id, words, item, self._event)
            return False
        if first > told:
            self._missing(told + 1, first, *([item] if before is None else [before, item]))
        elif overlaps:
            words = f"{at(first)} to {at(last)} lies over what has a fate up to {at(told)}"
            rows = [item] if before is None else [item, before]
            self._findings.add(K.TWICE, item.event_id, words, *rows)
        return True

    def _missing(self, start: int, end: int, *around: Execution | Gap) -> None:
        """Note the instants in ``start <= t < end``: no row tells of them, but those ``around``."""
        for span in self._spans:
            first = span.first(start, end)
            if first is not None and span.rule is not None:
                stop = min(end, span.until + 1)
                last, count = span.rule.previous_us(stop), span.rule.count_us(first, stop)
                words = f"{count} instants from {at(first)} to {at(last)} have no fate"
                hole = {"first": first, "last": last, "count": count}
                self._findings.add(K.MISSING, self._event.id, words, hole, self._event, *around)

    # -- the end -------------------------------------------------------------------------------

    def finish(self, last: int | None = None) -> None:
        """All fates have been gone through. ``last`` is the last instant with one, where the
        account is ``stale``.
        """
        event = self._event
        told = self.told if last is None else max(last, event.accounted_from - 1)
        if event.next_due is not None or event.status == EventStatus.DELETED:
            self._missing(told + 1, self.end + 1, *([] if self._last is None else [self._last]))
        if event.status == EventStatus.DELETED:
            if event.next_due is not None:
                words = "it is deleted, and has an instant that is due"
                self._findings.add(K.NEXT_DUE, event.id, words, event)
            return
        rule = readable_rule(event.trigger)
        if rule is None:
            return
        expected = rule.next_us(max(told, event.rule_since - 1))
        if expected != event.next_due:
            words = f"next_due is {at(event.next_due)}; after {at(told)} the rule says "
            self._findings.add(K.NEXT_DUE, event.id, words + at(expected), event)
        elif event.status not in _PARKED and (
            (event.next_due is None) != (event.status == EventStatus.COMPLETED)
        ):
            words = f"it is {event.status}, and next_due is {at(event.next_due)}"
            self._findings.add(K.NEXT_DUE, event.id, words, event)

    @property
    def stale(self) -> bool:
        """Whether fates that were looked at in an earlier slice have been given back meanwhile."""
        return self._carried is not None and self.told > self.end


_PARKED = (EventStatus.PAUSED, EventStatus.QUARANTINED)
"""The rule of an event may end while it is parked: it has completed once it is looked at again."""


def _end(event: Event) -> int:
    if event.status == EventStatus.DELETED:
        return event.rule_since - 1
    return MAX_US if event.next_due is None else event.next_due - 1


def _span(trigger: str, since: int, until: int) -> _Span:
    return _Span(readable_rule(trigger), since, until)
