"""Assertions hold where they should, and say what the ledger says where they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import EventNotFound, Registry, ValidationFailed, cron, every, once
from kalends.testing import (
    Simulation,
    VirtualScheduler,
    assert_accounted,
    assert_executed,
    assert_next,
    assert_not_executed,
    assert_skipped,
    simulate,
)

NONSENSE: Any = object()
START = pendulum.datetime(2027, 1, 1, tz="UTC")


@pytest.fixture(scope="module")
def outage() -> Simulation:
    """Ten to two hours, every ten minutes, down from 01:05 to 02:05; the third run fails."""
    return simulate(
        [{"job": "sync", "trigger": every(minutes=10), "name": "ten"}],
        START,
        START.add(hours=3),
        outages=[(START.add(minutes=65), START.add(minutes=125))],
        failures=lambda due, attempt, rng: due == START.add(minutes=30),
    )


def refused(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_executions_are_found_by_instant_count_and_fate(outage: Simulation) -> None:
    (one,) = assert_executed(outage, "ten", due="2027-01-01T00:10")
    assert one.due == START.add(minutes=10)
    assert_executed(outage, "ten", due=START.add(minutes=30), fate="failed")
    assert len(assert_executed(outage, "ten", count=12)) == 12
    assert_executed(outage, "ten", count=13, fate=None)
    assert_executed(outage, "ten", count=2, until="2027-01-01T00:30")
    assert_executed(outage, outage.events[0].id, count=1, fate="failed")
    assert_executed(outage.scheduler, outage.events[0], since="2027-01-01T02:10", count=6)
    assert_executed(outage, "ten", due="2027-01-01T01:10+01:00")
    assert_executed(outage, "ten", due="2027-01-01T01:10", tz="Europe/Oslo")


def test_what_did_not_run_is_found(outage: Simulation) -> None:
    assert assert_skipped(outage, "ten", reason="coalesced") == 5
    assert_skipped(outage, "ten", due="2027-01-01T01:30", reason="coalesced")
    assert_skipped(outage, "ten", count=2, since="2027-01-01T01:40", until="2027-01-01T02:00")
    assert_not_executed(outage, "ten", due="2027-01-01T01:30")
    assert_not_executed(outage, "ten", since="2027-01-01T01:05", until="2027-01-01T02:00")


def test_a_failure_shows_what_the_ledger_says_nearby(outage: Simulation) -> None:
    said = refused(assert_executed, outage, "ten", due="2027-01-01T01:30").splitlines()
    why = said.pop(-3)
    assert said == [
        "event 'ten': should have succeeded at Fri 2027-01-01 01:30:00 UTC",
        "the ledger says, among 14 lines:",
        "  Fri 2027-01-01 00:10:00 UTC  succeeded",
        "  Fri 2027-01-01 00:20:00 UTC  succeeded",
        "  Fri 2027-01-01 00:30:00 UTC  failed kalends.testing.SimulatedFailure:"
        " attempt 1 was to fail",
        "  Fri 2027-01-01 00:40:00 UTC  succeeded",
        "  Fri 2027-01-01 00:50:00 UTC  succeeded",
        "  Fri 2027-01-01 01:00:00 UTC  succeeded",
        "  Fri 2027-01-01 01:10:00 UTC to Fri 2027-01-01 01:50:00 UTC  5 skipped (coalesced)",
        "  Fri 2027-01-01 02:00:00 UTC  succeeded",
        "  Fri 2027-01-01 02:10:00 UTC  succeeded",
        "  Fri 2027-01-01 02:20:00 UTC  succeeded",
        "  Fri 2027-01-01 02:30:00 UTC  succeeded",
        "  Fri 2027-01-01 02:40:00 UTC  succeeded",
        "next due: Fri 2027-01-01 03:10:00 UTC",
        "rule: every(minutes=10, anchor=pendulum.datetime(2027, 1, 1)); status: active",
    ]
    explained = outage.scheduler.explain(outage.events[0].id, START.add(minutes=90))
    assert why == f"why: {explained}"
    assert "coalesced" in why


def test_a_ledger_that_adds_up_is_accepted_and_another_is_not(outage: Simulation) -> None:
    assert_accounted(outage)
    virtual = VirtualScheduler(start=START, registry=Registry())
    virtual.registry.register(lambda: None, "tick")
    with virtual:
        virtual.schedule_event("tick", every(minutes=10), name="ten")
        virtual.advance(3600)
        assert_accounted(virtual)
        system = virtual._system
        assert system is not None
        sql = "DELETE FROM executions WHERE due = (SELECT min(due) FROM executions)"
        system.storage.write(lambda db: db.execute_sql(sql) and None)
        said = refused(assert_accounted, virtual)
    assert said.startswith("the ledger does not add up:\n  missing: ")


@pytest.mark.parametrize(
    ("call", "query", "text"),
    [
        (assert_executed, {"count": 3}, "12 executions succeeded, not 3"),
        (assert_executed, {"fate": "lost"}, "no execution lost"),
        (assert_executed, {"fate": None, "count": 1}, "13 executions executed, not 1"),
        (assert_executed, {"since": "2027-02-01"}, "no execution succeeded since 2027-02-01"),
        (assert_not_executed, {}, "13 executions were begun"),
        (assert_not_executed, {"due": "2027-01-01T00:10"}, "were begun at Fri 2027-01-01 00:10"),
        (assert_skipped, {"reason": "overlap"}, "no instant was skipped (overlap)"),
        (assert_skipped, {"count": 6}, "5 instants skipped, not 6"),
        (assert_skipped, {"due": "2027-01-01T00:10"}, "should have been skipped at Fri"),
    ],
)
def test_each_assertion_can_fail(
    outage: Simulation, call: Callable[..., Any], query: dict[str, Any], text: str
) -> None:
    assert text in refused(call, outage, "ten", **query)


def test_an_empty_ledger_says_so(virtual: VirtualScheduler) -> None:
    virtual.schedule_event("tick", once(START.add(hours=1)), name="later")
    said = refused(assert_executed, virtual, "later")
    assert "the ledger has nothing of it there" in said
    assert "next due: Fri 2027-01-01 01:00:00 UTC" in said


def test_attempts_and_manual_runs_are_told(make: Any) -> None:
    scheduler = make(durations=60)
    event = scheduler.schedule_event("tick", every(hours=1), name="hourly", overlap="allow_all")
    scheduler.trigger_now(event.id)
    scheduler.advance(30)
    scheduler.kill()
    scheduler.start()
    scheduler.advance(600)
    said = refused(assert_executed, scheduler, "hourly", count=0)
    assert "succeeded by hand after 2 attempts" in said


def test_a_real_scheduler_can_be_asked_too(make_virtual: Any) -> None:
    real = make_virtual().start()
    event = real.scheduler.schedule_event("tick", every(minutes=10), name="ten")
    real.advance(600)
    assert_executed(real.scheduler, event, count=1)


def test_the_next_instants_of_a_rule(virtual: VirtualScheduler) -> None:
    rule = cron("0 18 LW * *", tz="Europe/Oslo")
    months = ["2027-01-29T18:00", "2027-02-26T18:00", "2027-03-31T18:00"]
    assert_next(rule, months, tz="Europe/Oslo")
    assert_next(rule, [pendulum.datetime(2027, 1, 29, 17, tz="UTC")], after=START)
    assert_next(virtual.schedule_event("tick", rule), months[1:], after=months[0], tz="Europe/Oslo")
    said = refused(assert_next, rule, [*months[:2], "2027-03-30T18:00"], tz="Europe/Oslo")
    at = "18:00:00 Europe/Oslo"
    assert said.splitlines()[1:] == [
        f"  expected Fri 2027-01-29 {at}, is due Fri 2027-01-29 {at}",
        f"  expected Fri 2027-02-26 {at}, is due Fri 2027-02-26 {at}",
        f"> expected Tue 2027-03-30 {at}, is due Wed 2027-03-31 {at}",
    ]
    assert repr(rule) in said
    assert "is due nothing" in refused(assert_next, once(START), [START, START.add(days=1)])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: assert_executed(s, "tne"), EventNotFound),
        (lambda s: assert_executed(s, NONSENSE), ValidationFailed),
        (lambda s: assert_executed(NONSENSE, "ten"), ValidationFailed),
        (lambda s: assert_executed(s, "ten", due="noon"), ValidationFailed),
        (lambda s: assert_executed(s, "ten", due="2027-01-01/2027-01-02"), ValidationFailed),
        (lambda s: assert_executed(s, "ten", fate="done"), ValidationFailed),
        (lambda s: assert_skipped(s, "ten", reason="late"), ValidationFailed),
        (lambda s: assert_next(NONSENSE, [START]), ValidationFailed),
        (lambda s: assert_next(every(hours=1), []), ValidationFailed),
        (lambda s: assert_next(once(START), START.isoformat()), ValidationFailed),
    ],
)
def test_a_wrong_question_is_refused_not_failed(
    outage: Simulation, call: Callable[[Any], Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        call(outage)
