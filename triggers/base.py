"""What every trigger promises.

A trigger is a pure rule: given an instant it answers with the next due instant, or with none. It
reads no clock, asks no database and never changes. Two faces: microseconds since the epoch inside
Kalends (``next_us`` and its kin), ``pendulum.DateTime`` in UTC for people (``next`` and its kin).
Ranges include their first instant and exclude their last. Nothing is due before the year 1 or after
the year 9999: the answer there is None, never an overflow.
"""

from __future__ import annotations

import datetime as dt
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import pendulum

from kalends.clock import from_us, to_us
from kalends.errors import ValidationFailed
from kalends.refusals import checking
from kalends.triggers.value import Value

if TYPE_CHECKING:
    from kalends.triggers.bounded import Bounded
    from kalends.triggers.day_sets import Days
    from kalends.triggers.jitter import Jittered
    from kalends.triggers.limit import Limited

__all__ = [
    "MAX_DEPTH",
    "Trigger",
    "check_depth",
    "datetime_call",
    "iso",
    "operand",
    "phrase",
]

MAX_DEPTH = 32
"""How deeply triggers may be put into triggers; it bounds every recursion over them."""


class Trigger(Value):
    """A pure, immutable rule for when something is due; equal to another of the same kind and
    values."""

    __slots__ = ()

    noun = "a trigger"

    compound: ClassVar[bool] = False
    """Whether the rule is written with an operator, so that it needs parentheses in another."""

    @abstractmethod
    def next_us(self, after_us: int) -> int | None:
        """The first instant strictly after ``after_us``, or None; microseconds UTC."""

    @abstractmethod
    def previous_us(self, before_us: int) -> int | None:
        """The last instant strictly before ``before_us``, or None; microseconds UTC."""

    @abstractmethod
    def count_us(self, a: int, b: int) -> int:
        """How many instants ``t`` have ``a <= t < b``; arithmetic, not a walk."""

    @abstractmethod
    def describe(self) -> str:
        """The rule in plain English."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The rule as JSON values, with ``v`` (version of the form) and ``type``; see
        ``from_json``."""

    @property
    def rules(self) -> tuple[Trigger, ...]:
        """The triggers that this one is made of; none for a rule that contains no other."""
        return ()

    @property
    def needs_anchor(self) -> bool:
        """Whether the rule counts from an instant it has not been given yet; see ``anchored``."""
        return any(rule.needs_anchor for rule in self.rules)

    @property
    def origin_us(self) -> int | None:
        """The instant that the rule begins with or before which it is never due; None if it goes
        back without end."""
        return None

    @property
    def depth(self) -> int:
        """How many triggers deep this one is; 1 for a rule that contains no other."""
        return 1 + max((part.depth for part in self.rules), default=0)

    def anchored(self, at_us: int) -> Trigger:
        """This rule with everything relative resolved against ``at_us``; itself where nothing
        is."""
        return self

    def between_us(self, a: int, b: int) -> Iterator[int]:
        """The instants ``t`` with ``a <= t < b``, in order."""
        due = self.next_us(a - 1)
        while due is not None and due < b:
            yield due
            due = self.next_us(due)

    @checking
    def next(self, after: dt.datetime) -> pendulum.DateTime | None:
        """The first instant strictly after an aware datetime, in UTC, or None."""
        due = self.next_us(to_us(after, "after"))
        return None if due is None else from_us(due)

    @checking
    def previous(self, before: dt.datetime) -> pendulum.DateTime | None:
        """The last instant strictly before an aware datetime, in UTC, or None."""
        due = self.previous_us(to_us(before, "before"))
        return None if due is None else from_us(due)

    @checking
    def count(self, a: dt.datetime, b: dt.datetime) -> int:
        """How many instants ``t`` have ``a <= t < b``; aware datetimes."""
        return self.count_us(to_us(a, "a"), to_us(b, "b"))

    @checking
    def between(self, start: dt.datetime | None = None, end: dt.datetime | None = None) -> Bounded:
        """This rule from ``start`` (included) to ``end`` (excluded): a trigger, and its instants.

        The answer is a trigger to schedule by, and iterating over it gives its instants in UTC:
        ``list(rule.between(a, b))``.
        """
        # Here and not above: a bounded rule is itself a trigger.
        from kalends.triggers.bounded import Bounded

        return Bounded(
            self,
            None if start is None else to_us(start, "start"),
            None if end is None else to_us(end, "end"),
        )

    def delay_us(self, instant_us: int, seed: str) -> int:
        """How long after ``instant_us``, one of the rule's, its execution is to begin;
        microseconds.

        Zero but for a rule with ``jitter``. The same instant and seed (an event's id) always give
        the same delay; the instant itself stays what it is.
        """
        return 0

    @checking
    def jitter(self, seconds: float) -> Jittered:
        """This rule, with each execution begun up to ``seconds`` late; see ``delay_us``."""
        from kalends.triggers.jitter import Jittered, jitter_us

        return Jittered(self, jitter_us(seconds))

    @checking
    def limit(self, n: int, *, anchor: dt.datetime | None = None) -> Limited:
        """The first ``n`` instants of this rule: those after ``anchor`` (an aware datetime);
        without one, from the rule's own beginning, and where it has none, from the instant it is
        anchored at (an event: from its creation)."""
        from kalends.triggers.limit import Limited

        return Limited(self, n, None if anchor is None else to_us(anchor, "anchor"))

    def __or__(self, other: Trigger) -> Trigger:
        """Due whenever either rule is."""
        from kalends.triggers.combine import union

        return union(self, other) if isinstance(other, Trigger) else NotImplemented

    def __and__(self, other: Trigger | Days) -> Trigger:
        """Due whenever both rules are; with days, only on those."""
        from kalends.triggers.combine import intersection
        from kalends.triggers.on_days import OnDays, is_days

        if is_days(other):
            return OnDays(self, other, keep=True)
        return intersection(self, other) if isinstance(other, Trigger) else NotImplemented

    def __sub__(self, other: Trigger | Days) -> Trigger:
        """Due whenever this rule is and the other is not; with days, on all others."""
        from kalends.triggers.combine import Difference
        from kalends.triggers.on_days import OnDays, is_days

        if is_days(other):
            return OnDays(self, other, keep=False)
        return Difference(self, other) if isinstance(other, Trigger) else NotImplemented

    def _reader(self) -> Callable[[dict[str, Any]], Any]:
        from kalends.triggers.codec import from_json

        return from_json


def iso(us: int) -> str:
    """An instant as ISO 8601 text in UTC, exact to the microsecond, as it is stored."""
    return f"{_plain(us).isoformat()}Z"


def datetime_call(us: int) -> str:
    """An instant as the ``pendulum.datetime(...)`` call that makes it."""
    at = _plain(us)
    parts = [at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond]
    while len(parts) > 3 and parts[-1] == 0:
        parts.pop()
    return f"pendulum.datetime({', '.join(map(str, parts))})"


def operand(rule: Trigger) -> str:
    """How ``rule`` is written inside another."""
    return f"({rule!r})" if rule.compound else repr(rule)


def phrase(rule: Trigger) -> str:
    """How ``rule`` is described inside another."""
    return f"[{rule.describe()}]" if rule.compound else rule.describe()


def check_depth(*parts: Trigger) -> None:
    """Refuse to put ``parts`` into another trigger where that would be too deep."""
    for part in parts:
        if part.depth >= MAX_DEPTH:
            raise ValidationFailed(
                f"triggers may be put into each other at most {MAX_DEPTH} deep", path="trigger"
            )


def _plain(us: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=us)


_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  (in UTC, like all instants here)
