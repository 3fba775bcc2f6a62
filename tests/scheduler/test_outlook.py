"""What lies ahead and what is overdue, asked of a whole scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import EventNotFound, OverdueCause, ValidationFailed, cron, every, once

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def test_the_next_runs_of_all_events_come_in_order(virtual: Any) -> None:
    tick = virtual.scheduler.schedule_event("tick", every(seconds=10), name="ten", tags=["a"])
    virtual.scheduler.schedule_event("hold", once(START.add(seconds=15)), name="once")
    found = virtual.scheduler.next_runs(limit=3)
    assert [(run.name, (run.instant - START).total_seconds()) for run in found] == [
        ("ten", 10),
        ("once", 15),
        ("ten", 20),
    ]
    assert {run.event_id for run in virtual.scheduler.next_runs(tag="a")} == {tick.id}
    assert [run.job for run in virtual.scheduler.next_runs(job="hold")] == ["hold"]
    assert virtual.scheduler.next_runs(name="t?n", until=START.add(seconds=11))[0] == found[0]
    virtual.advance(10)
    assert virtual.scheduler.next_runs(limit=1)[0].name == "once"


def test_a_heat_map_covers_the_days_asked_for(virtual: Any) -> None:
    virtual.scheduler.schedule_event("tick", cron("0 6 * * *", tz="Asia/Tokyo"), tags=["a"])
    virtual.scheduler.schedule_event("tick", cron("0 */12 * * *"))
    found = virtual.scheduler.heat_map(2, tz="Asia/Tokyo", tag="a")
    assert [(hour.day, hour.hour) for hour in found.hours if hour.runs] == [
        ("2027-01-02", 6),
        ("2027-01-03", 6),
    ]
    assert found.busiest == ()
    assert virtual.scheduler.heat_map().runs == 7 + 13
    assert len(virtual.scheduler.heat_map().hours) == 7 * 24


def test_a_map_of_what_a_running_schedule_does_next_is_found_in_slices(virtual: Any) -> None:
    virtual.scheduler.schedule_events(
        {"job": "tick", "trigger": cron("0 0 * * *")} for _ in range(1200)
    )
    found = virtual.scheduler.heat_map(1, busiest=1)
    assert (found.events, found.runs) == (0, 0)
    found = virtual.scheduler.heat_map(2, busiest=1)
    assert (found.events, found.runs, found.busiest[0].count) == (1200, 1200, 1200)


@pytest.mark.parametrize("path", [":memory:", None])
def test_it_works_without_readers(make_virtual: Callable[..., Any], path: str | None) -> None:
    virtual = make_virtual(path, readers=1).start()
    virtual.scheduler.schedule_event("tick", every(hours=1))
    assert virtual.scheduler.heat_map(1).runs == 23
    assert len(virtual.scheduler.next_runs(limit=7)) == 7
    assert virtual.scheduler.overdue() == ()


def test_what_runs_for_long_is_not_overdue_and_what_waits_for_a_worker_is(
    make_virtual: Callable[..., Any], until: Callable[..., Any]
) -> None:
    virtual = make_virtual(workers=1).start()
    virtual.scheduler.schedule_event("hold", once(START.add(seconds=1)))
    virtual.clock.advance(1)
    assert virtual.held.acquire(timeout=10)

    def marked() -> Any:
        virtual.clock.advance(0.01)  # the tracker has its timer only once it was told of the begin
        return virtual.scheduler.list_executions(fate="running").items

    until(marked)
    virtual.scheduler.schedule_event("tick", once(START.add(seconds=2)), name="waits")
    virtual.clock.advance(1)
    until(lambda: virtual.scheduler.count_executions() == 2)
    virtual.clock.advance(7)
    (found,) = virtual.scheduler.overdue(5)
    assert (found.name, found.cause) == ("waits", OverdueCause.NOT_BEGUN)
    assert found.since == START.add(seconds=2)


def test_a_database_whose_process_is_gone_is_overdue(make_virtual: Callable[..., Any]) -> None:
    first = make_virtual().start()
    event = first.scheduler.schedule_event("tick", every(seconds=10))
    first.scheduler.shutdown()
    watcher = make_virtual(enabled=False).start()
    watcher.clock.advance(600)
    (found,) = watcher.scheduler.overdue()
    assert (found.event_id, found.cause) == (event.id, OverdueCause.NO_NODE)
    assert found.since == START.add(seconds=10)
    assert watcher.scheduler.overdue(grace=600) == ()


@pytest.mark.parametrize(
    ("verb", "wrong", "path"),
    [
        ("next_runs", {"limit": 0}, "limit"),
        ("next_runs", {"status": "paused"}, "query.status"),
        ("next_runs", {"until": "tomorrow"}, "until"),
        ("heat_map", {"days": 93}, "days"),
        ("heat_map", {"tz": "Mars/Olympus"}, "tz"),
        ("heat_map", {"busiest": 101}, "busiest"),
        ("heat_map", {"limit": 3}, "query.limit"),
        ("overdue", {"grace": -1}, "grace"),
        ("overdue", {"limit": 1001}, "limit"),
    ],
)
def test_what_makes_no_sense_is_refused(
    virtual: Any, verb: str, wrong: dict[str, Any], path: str
) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        getattr(virtual.scheduler, verb)(**wrong)
    assert refusal.value.details["path"] == path


def test_a_walk_in_slices_ends_with_the_first_refusal(virtual: Any) -> None:
    steps: list[int] = []

    def step(_db: object) -> None:
        steps.append(len(steps))
        if len(steps) == 3:
            raise EventNotFound("no more", event_id="x")

    with pytest.raises(EventNotFound):
        virtual.system.storage.walk(step).get(timeout=10)
    assert steps == [0, 1, 2]
