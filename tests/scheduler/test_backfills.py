"""Backfills in a scheduler that runs: in order, across restarts, and on several processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import BackfillNotFound, Fate, Reason, ValidationFailed, cron, current, every

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def seconds(*instants: pendulum.DateTime) -> list[float]:
    return [(instant - START).total_seconds() for instant in instants]


class Counting:
    """A job that notes the instants it ran for, and how many of it ran beside each other."""

    def __init__(self, virtual: Any, hold_at: int | None = None) -> None:
        self.ran: list[pendulum.DateTime] = []
        self.beside = 0
        self._now = 0
        self._hold_at = hold_at
        self.held, self.let_go = threading.Event(), threading.Event()
        virtual.registry.register(self.run, "count")

    def run(self) -> None:
        self._now += 1
        self.beside = max(self.beside, self._now)
        self.ran.append(current().due)
        if len(self.ran) == self._hold_at:
            self.held.set()
            assert self.let_go.wait(30)
        self._now -= 1


def done(virtual: Any, backfill_id: str) -> Callable[[], bool]:
    return lambda: virtual.scheduler.get_backfill(backfill_id).done == 1.0


def test_what_was_missed_runs_in_order_and_one_at_a_time(
    virtual: Any, until: Callable[..., Any]
) -> None:
    job = Counting(virtual)
    event = virtual.scheduler.schedule_event("count", every(seconds=10, anchor=START), name="t")
    virtual.scheduler.pause_event(event.id)
    virtual.clock.advance(105)
    virtual.scheduler.resume_event(event.id)
    found = virtual.scheduler.backfill(
        event.id, START.subtract(seconds=30), START.add(seconds=105), author="ola", note="outage"
    )
    assert (found.planned, found.existing, found.remaining) == (14, 0, 0)
    until(done(virtual, found.id))
    assert seconds(*job.ran) == list(range(-30, 101, 10))
    assert job.beside == 1
    left = virtual.scheduler.get_backfill(found.id)
    assert left.fates == {Fate.SUCCEEDED: 14}
    told = virtual.fates(event)
    assert told == dict.fromkeys(range(-30, 101, 10), "succeeded")
    (entry,) = virtual.journal("event_backfilled")
    assert (entry.id, entry.author, entry.note, entry.details["planned"]) == (
        found.id, "ola", "outage", 14,
    )  # fmt: skip
    page = virtual.scheduler.list_executions(backfill=found.id, limit=5)
    assert len(page.items) == 5
    assert virtual.scheduler.count_executions(backfill=found.id, fate="succeeded") == 14


def test_where_executions_may_overlap_a_backfill_runs_many_at_once(
    virtual: Any, until: Callable[..., Any]
) -> None:
    event = virtual.scheduler.schedule_event(
        "hold", every(seconds=10, anchor=START), overlap="allow_all"
    )
    found = virtual.scheduler.backfill(event.id, START.subtract(seconds=50), START)
    for _ in range(5):
        assert virtual.held.acquire(timeout=10)
    virtual.let_go.set()
    until(done(virtual, found.id))
    assert virtual.scheduler.get_backfill(found.id).fates == {Fate.SUCCEEDED: 5}


def test_a_restart_in_the_middle_goes_on_where_it_was(
    virtual: Any, until: Callable[..., Any]
) -> None:
    job = Counting(virtual, hold_at=3)
    event = virtual.scheduler.schedule_event("count", every(seconds=10, anchor=START))
    found = virtual.scheduler.backfill(event.id, START.subtract(seconds=70), START)
    assert job.held.wait(10)
    stopping = threading.Thread(target=virtual.scheduler.shutdown)
    stopping.start()
    until(lambda: virtual.scheduler.status().state in ("stopping", "stopped"))
    job.let_go.set()
    stopping.join(20)
    assert seconds(*job.ran) == [-70, -60, -50]
    virtual.start()
    until(done(virtual, found.id))
    assert seconds(*job.ran) == list(range(-70, 0, 10))
    for execution in virtual.executions(event):
        assert [attempt.number for attempt in execution.attempts] == [1]


def test_two_schedulers_share_a_backfill_and_run_each_instant_once(
    make_virtual: Callable[..., Any], until: Callable[..., Any]
) -> None:
    one, two = make_virtual().start(), make_virtual().start()
    event = one.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="t")
    found = two.scheduler.backfill(event.id, START.subtract(seconds=300), START)
    one.clock.advance(1.0)
    until(done(one, found.id))
    ran = sorted(seconds(*(due for _, due in one.ran + two.ran)))
    assert ran == list(range(-300, 0, 10))
    assert one.scheduler.get_backfill(found.id).fates == {Fate.SUCCEEDED: 30}


def test_cancelling_leaves_what_runs_and_ends_the_rest(
    virtual: Any, until: Callable[..., Any]
) -> None:
    job = Counting(virtual, hold_at=2)
    event = virtual.scheduler.schedule_event("count", every(seconds=10, anchor=START))
    found = virtual.scheduler.backfill(event.id, START.subtract(seconds=70), START)
    assert job.held.wait(10)
    until(lambda: not virtual.system.outbox)
    left = virtual.scheduler.cancel_backfill(found.id, author="ola")
    assert left.fates[Fate.CANCELLED] == 5
    job.let_go.set()
    until(done(virtual, found.id))
    virtual.settle()
    assert seconds(*job.ran) == [-70, -60]
    assert virtual.scheduler.get_backfill(found.id).fates == {
        Fate.SUCCEEDED: 2, Fate.CANCELLED: 5,
    }  # fmt: skip
    (entry,) = virtual.journal("backfill_cancelled")
    assert (entry.author, entry.details["cancelled"]) == ("ola", 5)


def test_what_a_cancelled_backfill_left_says_why_and_by_whom(
    virtual: Any, until: Callable[..., Any]
) -> None:
    job = Counting(virtual, hold_at=1)
    event = virtual.scheduler.schedule_event("count", every(seconds=10, anchor=START), name="t")
    found = virtual.scheduler.backfill(event.id, START.subtract(seconds=30), START)
    assert job.held.wait(10)
    virtual.scheduler.cancel_backfill(found.id, author="ola", note="wrong week")
    ended = virtual.scheduler.list_executions(backfill=found.id, fate="cancelled").items
    assert [item.reason for item in ended] == [Reason.REQUESTED] * 2
    why = virtual.scheduler.explain(event.id, ended[0].due)
    assert "Its backfill was cancelled by ola at 2027-01-01T00:00:00Z: wrong week." in why.sentences
    job.let_go.set()
    until(done(virtual, found.id))
    virtual.settle()
    ran = virtual.scheduler.explain(event.id, START.subtract(seconds=30))
    assert not any("cancelled" in sentence for sentence in ran.sentences)


def test_a_failing_job_is_part_of_the_progress(virtual: Any, until: Callable[..., Any]) -> None:
    event = virtual.scheduler.schedule_event("boom", every(seconds=10, anchor=START))
    found = virtual.scheduler.backfill(event.id, START.subtract(seconds=25), START)
    until(done(virtual, found.id))
    assert virtual.scheduler.get_backfill(found.id).fates == {Fate.FAILED: 2}


def test_the_night_the_clock_is_set_back_runs_as_the_rule_says(
    virtual: Any, until: Callable[..., Any]
) -> None:
    job = Counting(virtual)
    event = virtual.scheduler.schedule_event("count", cron("30 2 * * *", tz="Europe/Oslo"))
    night = pendulum.datetime(2026, 10, 25, tz="Europe/Oslo")
    found = virtual.scheduler.backfill(event.id, night, night.add(days=1))
    until(done(virtual, found.id))
    assert job.ran == [pendulum.datetime(2026, 10, 25, 0, 30, tz="UTC")]


def test_what_makes_no_sense_is_refused(virtual: Any) -> None:
    scheduler = virtual.scheduler
    event = scheduler.schedule_event("tick", every(seconds=10, anchor=START))
    day = START.subtract(days=1)
    for wrong, path in (
        ({"end": START.add(seconds=1)}, "end"),
        ({"end": day}, "end"),
        ({"limit": 0}, "limit"),
        ({"limit": 100_001}, "limit"),
        ({"start": "yesterday"}, "start"),
    ):
        with pytest.raises(ValidationFailed) as caught:
            scheduler.backfill(event.id, **{"start": day, "end": START, **wrong})
        assert caught.value.details["path"] == path
    with pytest.raises(BackfillNotFound):
        scheduler.get_backfill(event.id)
    with pytest.raises(BackfillNotFound):
        scheduler.cancel_backfill(event.id)
    assert scheduler.count_executions() == 0
