"""Planning: the fate of everything that is due, decided from values alone.

``plan_claim`` is given a rule, the policies of its event, what there is of the event (``Standing``)
and the time. First catch-up decides which of the instants that have come are to run, then overlap
decides what becomes of those where the event has not ended, then the room that a named limit leaves
decides how many of them begin now.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import msgspec

from kalends.clock import US
from kalends.policies import CatchUp, Overlap, Policies

__all__ = ["ClaimPlan", "DueRule", "Others", "Span", "Standing", "plan_claim"]


class DueRule(Protocol):
    """What a decision asks of a trigger: pure arithmetic in microseconds."""

    def next_us(self, after_us: int) -> int | None: ...
    def previous_us(self, before_us: int) -> int | None: ...
    def count_us(self, a: int, b: int) -> int: ...


class Span(msgspec.Struct, frozen=True, gc=False):
    """Consecutive instants that share one reason for being skipped.

    ``count`` of them, from ``first`` to ``last``.
    """

    first: int
    last: int
    count: int
    reason: str
    into: int | None = None
    """For ``coalesced``: the instant that runs for them."""


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What there is of an event when a decision is made."""

    claimed: int = 0
    """Executions that have begun, or that a node has taken and not begun."""
    retrying: int = 0
    """Executions that wait for another attempt."""
    waiting: int = 0
    """Executions that wait for their first attempt, because others ran when they were due."""
    room: int | None = None
    """How many more the event's named limit lets begin now; None: it has no limit."""


class Others(Enum):
    """What becomes of the executions of the event that have not ended."""

    STAY = "stay"
    CANCEL = "cancel"
    """They are told to stop; those that wait are ended: what is decided on takes their place."""
    TERMINATE = "terminate"
    """They are ended now, whatever their jobs do."""


class ClaimPlan(msgspec.Struct, frozen=True, gc=False):
    """The fate of everything due: what to run, what to skip, and the first instant left open."""

    run: tuple[int, ...]
    skipped: tuple[Span, ...]
    next_due: int | None
    wait: tuple[int, ...] = ()
    """What is to run once others have ended."""
    others: Others = Others.STAY


ON_TIME_US = 5 * US
"""Under ``catch_up="skip"`` an instant found within this time of being due is late, not missed."""
_FREE = Standing()


def plan_claim(
    rule: DueRule, policies: Policies, due: int, now: int, standing: Standing = _FREE
) -> ClaimPlan | None:
    """Decide on all instants from ``due`` (the first without a fate) to ``now``; microseconds.

    None: not yet. So it is where the named limit has no room, which lets the instants wait to be
    caught up; and where ``due`` lies ahead of ``now``, unless that instant can be claimed without
    knowing what will run by then."""
    busy = _busy(policies.overlap, standing)
    following = rule.next_us(due)
    if due > now:
        ahead = not busy and standing.room is None
        return ClaimPlan((due,), (), following) if ahead else None
    if not _has_room(policies.overlap, standing):
        return None
    last, total = due, 1
    if following is not None and following <= now:
        last = _last(rule, now)
        total = rule.count_us(due, last + 1)
        following = rule.next_us(last)
    oldest_us = ON_TIME_US if policies.catch_up is CatchUp.SKIP else _window_us(policies)
    skipped: tuple[Span, ...] = ()
    first = due
    if due < now - oldest_us:
        missed, first = _missed(rule, due, last, total, now - oldest_us)
        skipped = (missed,)
        total -= missed.count
    if total == 0:
        return ClaimPlan((), skipped, following)
    if busy and policies.overlap is Overlap.SKIP:
        return ClaimPlan((), (*skipped, Span(first, last, total, "overlap")), following)
    run, spans = _catch_up(rule, policies, first, last, total)
    if busy and policies.overlap is not Overlap.TERMINATE_OTHER:
        wait, refused = _queue(policies, standing, run, spans)
        begin = _begin_behind(policies.overlap, standing)
        cancels = policies.overlap is Overlap.CANCEL_OTHER
        return ClaimPlan(
            wait[:begin],
            (*skipped, *refused),
            following,
            wait[begin:],
            Others.CANCEL if cancels else Others.STAY,
        )
    room = 1  # the others wait in line: nothing is claimed long before it can begin
    if policies.overlap is Overlap.ALLOW_ALL:
        room = len(run) if standing.room is None else standing.room
    others = Others.TERMINATE if busy else Others.STAY
    return ClaimPlan(run[:room], (*skipped, *spans), following, run[room:], others)


# -- overlap and limits ------------------------------------------------------------------------


def _busy(overlap: Overlap, standing: Standing) -> bool:
    """Whether overlap has something to decide."""
    if overlap is Overlap.ALLOW_ALL:
        return False
    if standing.claimed or standing.retrying:
        return True
    return overlap not in (Overlap.SKIP, Overlap.TERMINATE_OTHER) and standing.waiting > 0


def _has_room(overlap: Overlap, standing: Standing) -> bool:
    """Whether anything can be decided: what takes the place of its own event needs no other one."""
    if standing.room is None or standing.room > 0:
        return True
    return standing.claimed > 0 and overlap is not Overlap.ALLOW_ALL


def _queue(
    policies: Policies, standing: Standing, run: tuple[int, ...], spans: tuple[Span, ...]
) -> tuple[tuple[int, ...], tuple[Span, ...]]:
    """Which of the instants that catch-up wants to run are to wait, and the spans of all others."""
    reason = "overlap"
    if policies.overlap is Overlap.CANCEL_OTHER:
        wait, refused = run[-1:], run[:-1]
    else:
        places = 1
        if policies.overlap is Overlap.BUFFER_ALL:
            places, reason = policies.buffer_limit, "queue_full"
        places = max(0, places - standing.waiting)
        wait, refused = run[:places], run[places:]
    if not refused:
        return wait, spans
    if spans and spans[0].reason == "coalesced":
        # What they were to run as does not run: all share its fate.
        first, last = min(spans[0].first, refused[0]), max(spans[0].last, refused[0])
        return wait, (Span(first, last, spans[0].count + 1, reason),)
    return wait, (*spans, Span(refused[0], refused[-1], len(refused), reason))


def _begin_behind(overlap: Overlap, standing: Standing) -> int:
    """How many of those in the queue can begin now: others wait, and none is claimed."""
    ahead = 0 if overlap is Overlap.CANCEL_OTHER else standing.waiting
    return int(standing.claimed == 0 and ahead == 0)


# -- catch-up ----------------------------------------------------------------------------------


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
