"""Claim plans against a reference that looks at every instant one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalends.clock import US, from_us
from kalends.policies import CatchUp, ClaimPlan, Overlap, Policies, Span, plan_claim
from kalends.triggers import every, once

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


def reference(
    rule: Listed, policies: Policies, due: int, now: int, open_count: int
) -> dict[int, str] | None:
    """The fate of each instant by itself: ``run``, or the reason for which it is skipped."""
    blocked = open_count > 0 and policies.overlap is Overlap.SKIP
    if due > now:
        return None if blocked else {due: "run"}
    instants = [instant for instant in rule.instants if due <= instant <= now]
    reach = LATE_US if policies.catch_up is CatchUp.SKIP else round(policies.catch_up_window * US)
    fates = {instant: "missed" for instant in instants if instant < now - reach}
    left = [instant for instant in instants if instant not in fates]
    if blocked:
        return {**fates, **dict.fromkeys(left, "overlap")}
    if not left:
        return fates
    if policies.catch_up is CatchUp.ALL:
        chosen = left[-policies.catch_up_limit :]
        others = "missed"
    else:
        chosen = [left[0] if policies.catch_up is CatchUp.EARLIEST else left[-1]]
        others = "coalesced"
    return {
        **fates,
        **{instant: "run" if instant in chosen else others for instant in left},
    }


def spelled(plan: ClaimPlan, rule: Any, instants: list[int]) -> dict[int, str]:
    """The plan, instant by instant; checks that no instant is told of twice."""
    fates = dict.fromkeys(plan.run, "run")
    assert len(fates) == len(plan.run)
    for span in plan.skipped:
        inside = [instant for instant in instants if span.first <= instant <= span.last]
        assert (span.count, span.first, span.last) == (len(inside), inside[0], inside[-1])
        assert fates.keys().isdisjoint(inside)
        assert (span.into in plan.run) == (span.reason == "coalesced")
        fates |= dict.fromkeys(inside, span.reason)
    return fates


policy = st.builds(
    Policies,
    catch_up=st.sampled_from(CatchUp),
    catch_up_window=st.sampled_from([0.0, 1.0, 5.0, 20.0, 86_400.0]),
    catch_up_limit=st.integers(1, 6),
    overlap=st.sampled_from(Overlap),
)


@settings(max_examples=500, deadline=None)
@given(
    seconds=st.lists(st.integers(0, 60), min_size=1, max_size=30, unique=True),
    policies=policy,
    start=st.integers(0, 29),
    now=st.integers(-5, 90),
    half=st.sampled_from([0, 1, US // 2]),
    open_count=st.integers(0, 2),
)
def test_every_due_instant_gets_exactly_one_fate_and_the_right_one(
    seconds: list[int], policies: Policies, start: int, now: int, half: int, open_count: int
) -> None:
    rule = Listed([second * US for second in seconds])
    due = rule.instants[start % len(rule.instants)]
    at = now * US + half
    expected = reference(rule, policies, due, at, open_count)
    plan = plan_claim(rule, policies, due, at, open_count=open_count)
    if expected is None:
        assert plan is None
        return
    assert plan is not None
    assert spelled(plan, rule, rule.instants) == expected
    assert plan.next_due == rule.next_us(max(expected)), "the first instant left open"
    assert list(plan.run) == sorted(plan.run), "in turn"


@settings(max_examples=200, deadline=None)
@given(
    period=st.integers(1, 7),
    policies=policy,
    now=st.integers(1, 200),
    open_count=st.integers(0, 1),
)
def test_a_real_rule_is_decided_like_the_list_of_its_instants(
    period: int, policies: Policies, now: int, open_count: int
) -> None:
    rule = every(seconds=period, anchor=from_us(0))
    listed = Listed(list(rule.between_us(1, 400 * US)))
    due = period * US
    mine = plan_claim(rule, policies, due, now * US, open_count=open_count)
    assert mine == plan_claim(listed, policies, due, now * US, open_count=open_count)


def test_plans_made_one_after_the_other_leave_nothing_out() -> None:
    rule = Listed([second * US for second in range(1, 100)])
    policies = Policies(catch_up=CatchUp.LATEST)
    due: int | None = US
    told: dict[int, str] = {}
    for now in (1, 2, 7, 7, 30, 55, 98, 99, 120):
        if due is None or due > now * US:
            continue
        plan = plan_claim(rule, policies, due, now * US, open_count=now % 2)
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
    assert plan_claim(rule, Policies(), 5 * US, US, open_count=0) == ClaimPlan(
        (5 * US,), (), 6 * US
    )


def test_an_instant_ahead_of_an_event_that_runs_is_left_for_later() -> None:
    rule = every(seconds=1, anchor=from_us(0))
    assert plan_claim(rule, Policies(), 5 * US, US, open_count=1) is None
    beside = Policies(overlap=Overlap.ALLOW_ALL)
    assert plan_claim(rule, beside, 5 * US, US, open_count=1) is not None


@pytest.mark.parametrize(("late", "runs"), [(0, True), (LATE_US, True), (LATE_US + 1, False)])
def test_skip_means_late_by_more_than_a_moment(late: int, runs: bool) -> None:
    plan = plan_claim(once(from_us(0)), Policies(catch_up=CatchUp.SKIP), 0, late, open_count=0)
    assert plan is not None
    assert plan.run == ((0,) if runs else ())
    assert plan.skipped == (() if runs else (Span(0, 0, 1, "missed"),))
    assert plan.next_due is None


def test_a_century_of_seconds_is_decided_at_once() -> None:
    rule = every(seconds=1, anchor=from_us(0))
    now = 100 * 365 * 86_400 * US
    plan = plan_claim(rule, Policies(), US, now, open_count=0)
    assert plan is not None
    assert plan.run == (now,)
    assert [(span.reason, span.count) for span in plan.skipped] == [
        ("missed", 100 * 365 * 86_400 - 86_401),
        ("coalesced", 86_400),
    ]
