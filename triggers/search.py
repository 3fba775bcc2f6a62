"""How long a rule made of rules looks for its next instant, and how long it counts.

A search that passes over 400 years, the cycle of the calendar, in more than a few steps ends with
None: the rule is taken to have ended. One that takes more than ``STEPS`` steps before that is
refused, for an answer of None would be a guess; and so is a count of more than ``COUNTED`` steps,
where counting has to step. What the rules inside search meanwhile is a part of it. A rule whose
search finds nothing at all is refused when it is made.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kalends.clock import MAX_US, MIN_US, US
from kalends.errors import ValidationFailed
from kalends.triggers.base import Trigger

__all__ = ["COUNTED", "STEPS", "Search", "Searching", "budget", "check_possible", "nth", "step"]

STEPS = 300_000
"""Steps of one search: enough for a rule of every day to be followed through 400 years."""

COUNTED = 3_000_000
"""Steps of one count: every minute of five years."""

_FEW = 1_000
"""Steps that are taken whatever time they pass over: rules may begin late."""

_CYCLE_US = 146_097 * 86_400 * US

_MODERN_US = 946_684_800 * US
"""2000-01-01, from where most rules are found possible at once."""


class _Budget(threading.local):
    """The steps left to the question that a thread is in the middle of; None between questions."""

    left: int | None = None


_BUDGET = _Budget()


@contextmanager
def budget(steps: int) -> Iterator[None]:
    """A question that may take ``steps``; within another one, a part of that."""
    if _BUDGET.left is not None:
        yield
        return
    _BUDGET.left = steps
    try:
        yield
    finally:
        _BUDGET.left = None


def step(*rules: Trigger) -> None:
    """Take one step in asking ``rules``; ``ValidationFailed`` where none is left."""
    left = _BUDGET.left
    assert left is not None  # whoever steps has opened it
    _BUDGET.left = left - 1
    if left <= 0:
        asked = " and ".join(map(repr, rules))
        raise ValidationFailed(
            f"{asked}: no answer was found within the steps that one question may take",
            path="trigger",
        )


class Search:
    """One search for an instant."""

    __slots__ = ("_first", "_rule", "_taken")

    def __init__(self, rule: Trigger) -> None:
        self._rule = rule
        self._taken = 0
        self._first: int | None = None

    def goes_on(self, at_us: int) -> bool:
        """Whether to look at the instant ``at_us``; False once 400 years are behind."""
        if self._first is None:
            self._first = at_us
        elif abs(at_us - self._first) > _CYCLE_US and self._taken > _FEW:
            return False
        self._taken += 1
        step(self._rule)
        return True


class Searching(Trigger):
    """A rule that has to search. It remembers its last search either way, so that a long one is
    paid for once; sharing it between threads is harmless."""

    __slots__ = ("_ahead", "_behind")
    _ahead: tuple[int, int | None]
    _behind: tuple[int, int | None]

    @abstractmethod
    def _search_next(self, after_us: int) -> int | None:
        """What ``next_us`` answers."""

    @abstractmethod
    def _search_previous(self, before_us: int) -> int | None:
        """What ``previous_us`` answers."""

    @abstractmethod
    def _counted(self, a: int, b: int) -> int:
        """What ``count_us`` answers."""

    def count_us(self, a: int, b: int) -> int:
        with budget(COUNTED):
            return self._counted(a, b)

    def _forget(self) -> None:
        """Fill the slots; for ``__init__``."""
        self._set(_ahead=(MAX_US, None), _behind=(MIN_US, None))

    def next_us(self, after_us: int) -> int | None:
        since, due = self._ahead
        if since <= after_us and (due is None or after_us < due):
            return due
        with budget(STEPS):
            due = self._search_next(after_us)
        self._set(_ahead=(after_us, due))
        return due

    def previous_us(self, before_us: int) -> int | None:
        until, due = self._behind
        if before_us <= until and (due is None or due < before_us):
            return due
        with budget(STEPS):
            due = self._search_previous(before_us)
        self._set(_behind=(before_us, due))
        return due


def check_possible(rule: Trigger) -> None:
    """Refuse a rule that can be shown never to be due, or that cannot be searched; a rule that has
    no anchor yet is looked at when it gets one."""
    if rule.needs_anchor:
        return
    if rule.next_us(_MODERN_US) is None and rule.next_us(MIN_US - 1) is None:
        raise ValidationFailed(f"{rule!r} can never be due", path="trigger")


def nth(
    n: int,
    first: int | None,
    at_or_after: Callable[[int], int | None],
    count: Callable[[int, int], int],
    end: int,
) -> int | None:
    """The ``n``-th of a rule's instants (or moments) from ``first`` on, its first one; None where
    there are fewer before ``end``.

    Found by counting in ever longer spans, then by halving the last. No span is counted twice, and
    what lies between two instants not at all.
    """
    seen, width, low = 0, US, first
    while low is not None and low < end:
        high = min(low + width, end)
        more = count(low, high)
        if seen + more >= n:
            return _halved(n - seen, low, high, count)
        low, seen, width = at_or_after(high), seen + more, width * 2
    return None


def _halved(n: int, low: int, high: int, count: Callable[[int, int], int]) -> int:
    """The ``n``-th from ``low`` to before ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        more = count(low, middle)
        if more < n:
            low, n = middle, n - more
        else:
            high = middle
    return low
