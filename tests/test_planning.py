"""Claim plans against a reference that looks at every instant one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalends.clock import US, from_us
from kalends.planning import ClaimPlan, Others, Span, Standing, plan_claim
from kalends.policies import CatchUp, Overlap, Policies
from kalends.triggers import every, once

QUEUEING = (Overlap.BUFFER_ONE, Overlap.BUFFER_ALL, Overlap.CANCEL_OTHER)
LATE_US = 5 * US
"""How late an instant may be under ``catch_up="skip"`` and still be on time."""


class Listed:
    """A rule that is a list of instants."""

    def __init__(self, instants: list[int]) -> None:
        self.instants = sorted(instants)

    def next_us(self, after_us: int) -> int | None:
        return min((due for due in self.instants if due > after_us), default=None)

    def previous_us(self, before_us: int) -> int | None:
        return max((due for due in self.instants if due < before_us), default=None)

    def count_us(self, a: int, b: int) -> int:
        return sum(1 for due in self.instants if a <= due < b)


def caught_up(
    rule: Listed, policies: Policies, due: int, now: int, *, blocked: bool
) -> tuple[dict[int, str], list[int]]:
    """The instants that are not to run, each with its reason, and those that are."""
    instants = [instant for instant in rule.instants if due <= instant <= now]
    reach = LATE_US if policies.catch_up is CatchUp.SKIP else round(policies.catch_up_window * US)
    fates = {instant: "missed" for instant in instants if instant < now - reach}
    left = [instant for instant in instants if instant not in fates]
    if not left or blocked:
        return fates, left
    if policies.catch_up is CatchUp.ALL:
        chosen = left[-policies.catch_up_limit :]
        others = "missed"
    else:
        chosen = [left[0] if policies.catch_up is CatchUp.EARLIEST else left[-1]]
        others = "coalesced"
    return {**fates, **{i: others for i in left if i not in chosen}}, chosen


def reference(
    rule: Listed, policies: Policies, due: int, now: int, there: Standing
) -> tuple[dict[int, str], Others] | None:
    """The fate of each instant by itself: ``run``, ``wait``, or the reason for which it is skipped;
    and what becomes of the others.
    """
    form, open_count = policies.overlap, there.claimed + there.retrying
    if due > now:
        alone = open_count == 0 and (there.waiting == 0 or form not in QUEUEING)
        may = there.room is None and (alone or form is Overlap.ALLOW_ALL)
        return ({due: "run"}, Others.STAY) if may else None
    if there.room == 0 and (form is Overlap.ALLOW_ALL or there.claimed == 0):
        return None
    skips = form is Overlap.SKIP and open_count > 0
    fates, chosen = caught_up(rule, policies, due, now, blocked=skips)
    if not chosen or skips:
        return {**fates, **dict.fromkeys(chosen, "overlap")}, Others.STAY
    if form in QUEUEING and (open_count or there.waiting):
        return queued(policies, fates, chosen, there)
    room = len(chosen) if there.room is None else there.room
    others = Others.STAY
    if form is Overlap.TERMINATE_OTHER and open_count:
        others, room = Others.TERMINATE, room + there.claimed
    if there.room is not None and form is not Overlap.ALLOW_ALL:
        room = min(room, 1)
    return {
        **fates,
        **{instant: "run" if n < room else "wait" for n, instant in enumerate(chosen)},
    }, others


def queued(
    policies: Policies, fates: dict[int, str], chosen: list[int], there: Standing
) -> tuple[dict[int, str], Others]:
    """Each instant goes to the line of those that wait; then its head begins, if it may."""
    line: list[int | None] = [None] * there.waiting
    reason = "queue_full" if policies.overlap is Overlap.BUFFER_ALL else "overlap"
    for instant in chosen:
        if policies.overlap is Overlap.CANCEL_OTHER:
            fates |= {waits: "overlap" for waits in line if waits is not None}
            line = [instant]
        elif len(line) < (policies.buffer_limit if policies.overlap is Overlap.BUFFER_ALL else 1):
            line.append(instant)
        else:
            fates[instant] = reason
            if len(chosen) == 1:  # nothing runs for those that were coalesced into it
                fates |= {i: reason for i, told in fates.items() if told == "coalesced"}
    fates |= {waits: "wait" for waits in line if waits is not None}
    if line[0] is not None and there.claimed == 0:
        fates[line[0]] = "run"
    cancels = policies.overlap is Overlap.CANCEL_OTHER
    return fates, Others.CANCEL if cancels else Others.STAY


def spelled(plan: ClaimPlan, rule: Any, instants: list[int]) -> dict[int, str]:
    """The plan, instant by instant; checks that no instant is told of twice."""
    fates = {**dict.fromkeys(plan.run, "run"), **dict.fromkeys(plan.wait, "wait")}
    assert len(fates) == len(plan.run) + len(plan.wait)
    for span in plan.skipped:
        inside = [instant for instant in instants if span.first <= instant <= span.last]
        assert (span.count, span.first, span.last) == (len(inside), inside[0], inside[-1])
        assert fates.keys().isdisjoint(inside)
        assert (span.into in (*plan.run, *plan.wait)) == (span.reason == "coalesced")
        fates |= dict.fromkeys(inside, span.reason)
    return fates


policy = st.builds(
    Policies,
    catch_up=st.sampled_from(CatchUp),
    catch_up_window=st.sampled_from([0.0, 1.0, 5.0, 20.0, 86_400.0]),
    catch_up_limit=st.integers(1, 6),
    overlap=st.sampled_from(Overlap),
    buffer_limit=st.integers(1, 4),
)
standing = st.builds(
    Standing,
    claimed=st.integers(0, 2),
    retrying=st.integers(0, 1),
    waiting=st.sampled_from([0, 0, 1, 2, 5]),
    room=st.sampled_from([None, None, 0, 1, 3]),
)


@settings(max_examples=1500, deadline=None)
@given(
    seconds=st.lists(st.integers(0, 60), min_size=1, max_size=30, unique=True),
    policies=policy,
    start=st.integers(0, 29),
    now=st.integers(-5, 90),
    half=st.sampled_from([0, 1, US // 2]),
    there=standing,
)
def test_every_due_instant_gets_exactly_one_fate_and_the_right_one(
    seconds: list[int], policies: Policies, start: int, now: int, half: int, there: Standing
) -> None:
    rule = Listed([second * US for second in seconds])
    due = rule.instants[start % len(rule.instants)]
    at = now * US + half
    expected = reference(rule, policies, due, at, there)
    plan = plan_claim(rule, policies, due, at, there)
    if expected is None:
        assert plan is None
        return
    assert plan is not None
    fates, others = expected
    assert spelled(plan, rule, rule.instants) == fates
    assert plan.others is others
    assert plan.next_due == rule.next_us(max(fates)), "the first instant left open"
    assert [*plan.run, *plan.wait] == sorted((*plan.run, *plan.wait)), "in turn"


@settings(max_examples=200, deadline=None)
@given(
    period=st.integers(1, 7),
    policies=policy,
    now=st.integers(1, 200),
    there=standing,
)
def test_a_real_rule_is_decided_like_the_list_of_its_instants(
    period: int, policies: Policies, now: int, there: Standing
) -> None:
    rule = every(seconds=period, anchor=from_us(0))
    listed = Listed(list(rule.between_us(1, 400 * US)))
    due = period * US
    mine = plan_claim(rule, policies, due, now * US, there)
    assert mine == plan_claim(listed, policies, due, now * US, there)


def test_plans_made_one_after_the_other_leave_nothing_out() -> None:
    rule = Listed([second * US for second in range(1, 100)])
    policies = Policies(catch_up=CatchUp.LATEST)
    due: int | None = US
    told: dict[int, str] = {}
    for now in (1, 2, 7, 7, 30, 55, 98, 99, 120):
        if due is None or due > now * US:
            continue
        plan = plan_claim(rule, policies, due, now * US, Standing(claimed=now % 2))
        assert plan is not None
        fates = spelled(plan, rule, rule.instants)
        assert fates.keys().isdisjoint(told)
        told |= fates
        due = plan.next_due
    assert due is None
    assert sorted(told) == rule.instants


# -- by example --------------------------------------------------------------------------------


def test_an_instant_ahead_is_claimed_alone() -> None:
    rule = every(seconds=1, anchor=from_us(0))
    assert plan_claim(rule, Policies(), 5 * US, US) == ClaimPlan((5 * US,), (), 6 * US)


def test_an_instant_ahead_of_an_event_that_runs_is_left_for_later() -> None:
    rule = every(seconds=1, anchor=from_us(0))
    assert plan_claim(rule, Policies(), 5 * US, US, Standing(claimed=1)) is None
    beside = Policies(overlap=Overlap.ALLOW_ALL)
    assert plan_claim(rule, beside, 5 * US, US, Standing(claimed=1)) is not None


@pytest.mark.parametrize(("late", "runs"), [(0, True), (LATE_US, True), (LATE_US + 1, False)])
def test_skip_means_late_by_more_than_a_moment(late: int, runs: bool) -> None:
    plan = plan_claim(once(from_us(0)), Policies(catch_up=CatchUp.SKIP), 0, late)
    assert plan is not None
    assert plan.run == ((0,) if runs else ())
    assert plan.skipped == (() if runs else (Span(0, 0, 1, "missed"),))
    assert plan.next_due is None


def test_a_century_of_seconds_is_decided_at_once() -> None:
    rule = every(seconds=1, anchor=from_us(0))
    now = 100 * 365 * 86_400 * US
    plan = plan_claim(rule, Policies(), US, now)
    assert plan is not None
    assert plan.run == (now,)
    assert [(span.reason, span.count) for span in plan.skipped] == [
        ("missed", 100 * 365 * 86_400 - 86_401),
        ("coalesced", 86_400),
    ]


@pytest.mark.parametrize("overlap", Overlap)
def test_where_nothing_is_said_of_an_event_nothing_of_it_runs_or_waits(overlap: Overlap) -> None:
    rule = every(seconds=1, anchor=from_us(0))
    plan = plan_claim(rule, Policies(overlap=overlap), 5 * US, US)
    assert plan == ClaimPlan((5 * US,), (), 6 * US)


def test_an_instant_a_microsecond_after_now_is_not_counted() -> None:
    plan = plan_claim(Listed([0, 1, 2]), Policies(), 0, 1)
    assert plan == ClaimPlan((1,), (Span(0, 0, 1, "coalesced", 1),), 2)
