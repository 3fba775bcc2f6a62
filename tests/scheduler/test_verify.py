"""``verify`` asked of a whole scheduler, on a file, while it runs."""

from __future__ import annotations

from typing import Any

import pendulum
import pytest

from kalends import EventNotFound, ValidationFailed, ViolationKind, cron, every, once
from kalends.storage.models import ExecutionRow

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def test_a_scheduler_that_is_used_keeps_its_promises(virtual: Any) -> None:
    scheduler = virtual.scheduler
    tick = scheduler.schedule_event("tick", every(seconds=10), tags=["a"])
    scheduler.schedule_event("boom", cron("*/3 * * * * *"), overlap="allow_all", catch_up="all")
    late = scheduler.schedule_event("tick", once(START.add(seconds=25)))
    for _ in range(5):
        virtual.advance(10)
    scheduler.update_event(tick.id, trigger=every(seconds=7), author="me")
    scheduler.pause_event(tick.id)
    virtual.advance(100)
    scheduler.resume_event(tick.id)
    scheduler.trigger_now(tick.id)
    scheduler.delete_event(late.id)
    virtual.advance(86_400)
    found = scheduler.verify(integrity=True)
    assert [item.words for item in found.violations] == []
    assert found.ok
    assert found.executions == scheduler.count_executions()
    assert found.gaps == 3
    assert scheduler.verify(tick.id).events == 1


def test_what_is_wrong_is_told_with_its_rows(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10))
    for _ in range(3):
        virtual.advance(10)
    lost = ExecutionRow.delete().where(
        ExecutionRow.event_id == event.id,
        ExecutionRow.due == 20_000_000 + START.int_timestamp * 10**6,
    )
    assert virtual.system.storage.write(lost.execute).get(timeout=10) == 1
    (found,) = virtual.scheduler.verify().violations
    assert (found.kind, found.invariant, found.event_id) == (ViolationKind.MISSING, 1, event.id)
    assert found.words.startswith("1 instants from 2027-01-01T00:00:20Z")
    assert [row.get("due", 0) % 60_000_000 for row in found.rows[2:]] == [10_000_000, 30_000_000]
    assert virtual.scheduler.executions.verify(event.id).get(timeout=10).violations == (found,)


def test_what_makes_no_sense_is_refused(virtual: Any) -> None:
    unknown = virtual.scheduler.schedule_event("tick", once(START.add(years=1)))
    for wrong in ({"limit": 0}, {"integrity": 1}, {"event_id": "x"}):
        with pytest.raises(ValidationFailed):
            virtual.scheduler.verify(**wrong)
    with pytest.raises(EventNotFound):
        virtual.scheduler.verify(unknown.id[:-1] + ("0" if unknown.id[-1] != "0" else "1"))
