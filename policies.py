"""Policies: what happens to an instant that comes late, collides or crashes. Values and pure
decisions.

``Policies`` is kept on the event; ``plan_claim`` decides, from values alone, the fate of every
instant that is due. No clock, database or actor is needed to read, test or explain a decision."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from kalends.clock import US
from kalends.errors import ValidationFailed

__all__ = [
    "CatchUp",
    "ClaimPlan",
    "Delivery",
    "Overlap",
    "Policies",
    "RetryBackoff",
    "Span",
    "consistent",
    "plan_claim",
]


class CatchUp(StrEnum):
    """What to do with instants that passed while nobody could run them."""

    SKIP = "skip"
    """Nothing: each becomes ``skipped (missed)``."""
    LATEST = "latest"
    """Run the latest; the others are ``skipped (coalesced)`` into it."""
    EARLIEST = "earliest"
    """Run the earliest; the others are ``skipped (coalesced)`` into it."""
    ALL = "all"
    """Run each in turn, the newest ``catch_up_limit`` of them."""


class Overlap(StrEnum):
    """What to do with an instant that is due while the same event still runs."""

    SKIP = "skip"
    """It becomes ``skipped (overlap)``."""
    ALLOW_ALL = "allow_all"
    """It runs beside the others."""


class Delivery(StrEnum):
    """What becomes of an execution whose process died."""

    AT_LEAST_ONCE = "at_least_once"
    """It is attempted again, up to ``max_attempts`` altogether; then it is ``lost``."""
    AT_MOST_ONCE = "at_most_once"
    """It is ``lost``: the job may have run in part and is not run again."""


class RetryBackoff(StrEnum):
    """How the delay before another attempt grows with the failures in a row, ``n`` of them."""

    CONSTANT = "constant"
    """``retry_delay`` each time."""
    LINEAR = "linear"
    """``retry_delay * n``."""
    EXPONENTIAL = "exponential"
    """``retry_delay * 2 ** (n - 1)``."""


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """The policies of one event. Times in seconds."""

    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window: float = 86_400.0
    """Instants later than this many seconds are ``missed``, whatever ``catch_up`` says."""
    catch_up_limit: int = 100
    """How many instants ``catch_up="all"`` runs at most; older ones are ``missed``."""
    overlap: Overlap = Overlap.SKIP
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    max_attempts: int = 5
    """An execution is ``lost`` once so many of its attempts were lost with their processes."""
    retries: int = 0
    """How many further attempts follow on failures and time-outs."""
    retry_delay: float = 10.0
    retry_backoff: RetryBackoff = RetryBackoff.EXPONENTIAL
    retry_max_delay: float = 3600.0
    """No backoff is longer."""
    retry_jitter: float = 0.1
    """The fraction (0 to 1) of a delay by which it may be shorter, so that failures spread out."""
    retry_on: tuple[str, ...] = ()
    """Names of exception classes, bare or qualified, that are tried again; none: all are."""
    give_up_on: tuple[str, ...] = ()
    """Names of exception classes that are not tried again, whatever ``retry_on`` says."""
    timeout: float | None = None
    """How long an attempt may take, by monotonic time."""
    pause_after_failures: int | None = None
    """The event is paused after so many executions in a row that failed, timed out or were lost."""


def consistent(policies: Policies) -> Policies:
    """The policies, where they can all hold together. Raises ``ValidationFailed``."""
    for field in ("retry_on", "give_up_on"):
        for place, name in enumerate(getattr(policies, field)):
            if not all(part.isidentifier() or part == "<locals>" for part in name.split(".")):
                raise ValidationFailed(
                    f"{name!r} cannot be the name of an exception class", path=f"{field}[{place}]"
                )
    if policies.delivery == Delivery.AT_MOST_ONCE and policies.retries > 0:
        raise ValidationFailed(
            "at_most_once allows no further attempt: say retries=0", path="retries"
        )
    return policies


class DueRule(Protocol):
    """What a decision asks of a trigger: pure arithmetic in microseconds."""

    def next_us(self, after_us: int) -> int | None: ...
    def previous_us(self, before_us: int) -> int | None: ...
    def count_us(self, a: int, b: int) -> int: ...


class Span(msgspec.Struct, frozen=True):
    """Consecutive instants that share one reason for being skipped.

    ``count`` of them, from ``first`` to ``last``.
    """

    first: int
    last: int
    count: int
    reason: str
    into: int | None = None
    """For ``coalesced``: the instant that runs for them."""


class ClaimPlan(msgspec.Struct, frozen=True):
    """The fate of everything due: what to run, what to skip, and the first instant left open."""

    run: tuple[int, ...]
    skipped: tuple[Span, ...]
    next_due: int | None


ON_TIME_US = 5 * US
"""Under ``catch_up="skip"`` an instant found within this time of being due is late, not missed."""


def plan_claim(
    rule: DueRule, policies: Policies, due: int, now: int, *, open_count: int
) -> ClaimPlan | None:
    """Decide on all instants from ``due`` (the first without a fate) to ``now``; microseconds.

    ``open_count`` is how many executions of the event have not ended. Where ``due`` lies ahead of
    ``now`` the answer is to run just that instant, or None: not yet, because whether it overlaps is
    known only when it is due."""
    blocked = open_count > 0 and policies.overlap is Overlap.SKIP
    following = rule.next_us(due)
    if due > now:
        return None if blocked else ClaimPlan((due,), (), following)
    last, total = due, 1
    if following is not None and following <= now:
        last = _last(rule, now)
        total = rule.count_us(due, last + 1)
        following = rule.next_us(last)
    oldest_us = ON_TIME_US if policies.catch_up is CatchUp.SKIP else _window_us(policies)
    skipped: list[Span] = []
    first = due
    if due < now - oldest_us:
        missed, first = _missed(rule, due, last, total, now - oldest_us)
        skipped.append(missed)
        total -= missed.count
    if total and blocked:
        skipped.append(Span(first, last, total, "overlap"))
        return ClaimPlan((), tuple(skipped), following)
    run, spans = _catch_up(rule, policies, first, last, total)
    return ClaimPlan(run, (*skipped, *spans), following)


def _window_us(policies: Policies) -> int:
    return round(policies.catch_up_window * US)


def _last(rule: DueRule, now: int) -> int:
    last = rule.previous_us(now + 1)
    assert last is not None, "a rule with an instant at or before now has a last one"
    return last


def _missed(rule: DueRule, due: int, last: int, total: int, limit: int) -> tuple[Span, int]:
    """The span of instants before ``limit``, and the first instant after it."""
    end = rule.previous_us(limit)
    assert end is not None, "due itself lies before the limit"
    count = total if end == last else rule.count_us(due, end + 1)
    first = rule.next_us(end)
    return Span(due, end, count, "missed"), last if first is None else first


def _catch_up(
    rule: DueRule, policies: Policies, first: int, last: int, total: int
) -> tuple[tuple[int, ...], tuple[Span, ...]]:
    if total == 0:
        return (), ()
    if total == 1:
        return (first,), ()
    if policies.catch_up is CatchUp.EARLIEST:
        after = rule.next_us(first)
        assert after is not None
        return (first,), (Span(after, last, total - 1, "coalesced", first),)
    if policies.catch_up is CatchUp.ALL:
        return _all_in_turn(rule, policies.catch_up_limit, first, last, total)
    before = rule.previous_us(last)
    assert before is not None
    return (last,), (Span(first, before, total - 1, "coalesced", last),)


def _all_in_turn(
    rule: DueRule, limit: int, first: int, last: int, total: int
) -> tuple[tuple[int, ...], tuple[Span, ...]]:
    run = [last]
    while len(run) < min(limit, total):
        before = rule.previous_us(run[-1])
        assert before is not None
        run.append(before)
    run.reverse()
    if len(run) == total:
        return tuple(run), ()
    end = rule.previous_us(run[0])
    assert end is not None
    return tuple(run), (Span(first, end, total - len(run), "missed"),)
