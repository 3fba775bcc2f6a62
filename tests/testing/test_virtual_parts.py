"""What virtual time is made of, where a scheduler as a whole does not show it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pendulum
import pytest

from kalends import (
    AskTimeout,
    NotInitialized,
    Registry,
    StorageRefused,
    ValidationFailed,
    every,
    once,
)
from kalends.testing import ManualClock, VirtualScheduler, World, simulate, sleep
from kalends.testing.lookups import every_item

START = pendulum.datetime(2027, 1, 1, tz="UTC")


@pytest.fixture
def world() -> World:
    return World(START)


# -- processes ---------------------------------------------------------------------------------


def test_greenlets_sleep_and_wait_in_virtual_time(world: World) -> None:
    told: list[tuple[str, float]] = []
    process = world.fork()

    def body() -> None:
        event = gevent.event.Event()

        def wake() -> None:
            gevent.sleep(5)
            event.set()

        process.spawn(wake)
        told.append(("in time", event.wait(10)))
        told.append(("too late", gevent.event.Event().wait(20)))
        with pytest.raises(gevent.Timeout), gevent.Timeout(30):
            gevent.sleep(60)
        told.append(("woken", world.clock.monotonic()))

    world.run_in(process, body)
    assert told == [("in time", True), ("too late", False), ("woken", 55.0)]


def test_callbacks_run_in_order_and_one_that_raises_ends_alone(
    world: World, logged: list[dict[str, Any]]
) -> None:
    process, told = world.fork(), list[int]()
    process.call(told.append, 1)
    process.call(lambda: 1 / 0)
    process.loop.run_callback(told.append, 9).stop()
    process.call(told.append, 2)
    world.settle()
    assert told == [1, 2]
    assert [entry["event"] for entry in logged] == ["hub_callback_failed"]


def test_two_processes_take_turns_in_the_order_of_their_birth(world: World) -> None:
    told: list[str] = []
    first, second = world.fork(), world.fork()
    second.call(lambda: told.append("second"))
    first.call(told.append, "first")
    first.call(second.call, told.append, "answer")
    world.settle()
    assert told == ["first", "second", "answer"]
    assert world.alive == {first.pid, second.pid}


def test_a_process_ends_once_and_runs_nothing_any_more(world: World) -> None:
    process, told = world.fork(), list[int]()
    process.on_end.append(lambda: told.append(0))
    process.call(told.append, 1)
    process.kill()
    process.kill()
    process.end()
    process.call(told.append, 2)
    world.advance(10)
    assert told == [0]
    assert process.is_gone(process.pid)
    assert world.next_wake() is None


def test_what_nothing_can_end_is_told_to_whoever_waits(world: World) -> None:
    with pytest.raises(AskTimeout, match="nothing is left"):
        world.run_in(world.fork(), lambda: gevent.event.Event().wait())


def test_a_greenlet_that_was_never_begun_goes_with_its_process(world: World) -> None:
    process, told = world.fork(), list[int]()

    def body() -> None:
        process.spawn(lambda: told.append(1))
        process.kill()

    with pytest.raises(Exception, match="was killed"):
        world.run_in(process, body)
    world.advance(1)
    assert told == []


# -- executors ---------------------------------------------------------------------------------


def test_no_more_run_at_once_than_there_are_workers_and_the_first_in_line_is_next(
    make: Any,
) -> None:
    scheduler = make(workers=2, durations={"tick": 60})
    for number in range(4):
        scheduler.schedule_event("tick", once(START.add(seconds=10)), name=f"e{number}")
    scheduler.advance(30)
    assert scheduler.count_executions(fate="running") == 2
    scheduler.advance(200)
    begun = sorted(
        (item.attempts[0].started_at - START).total_seconds()
        for item in every_item(scheduler.list_executions)
    )
    assert begun == [10, 10, 70, 70]


def test_a_stopped_executor_takes_nothing(virtual: VirtualScheduler) -> None:
    system = virtual._system
    assert system is not None
    virtual.shutdown()
    with pytest.raises(NotInitialized):
        system.storage.write(lambda _: None).get()


def test_a_negative_sleep_is_refused() -> None:
    with pytest.raises(ValidationFailed):
        sleep(-1)


# -- schedulers --------------------------------------------------------------------------------


def test_one_clock_one_start_or_one_world(registry: Any) -> None:
    with pytest.raises(ValidationFailed, match="one of start, clock and world"):
        VirtualScheduler(start=START, clock=ManualClock(START), registry=registry)


def test_a_file_that_is_not_a_database_is_refused_and_the_next_start_works(
    registry: Any, tmp_path: Path
) -> None:
    path = tmp_path / "k.db"
    path.write_text("not a database, but long enough to look at" * 10)
    scheduler = VirtualScheduler(path, registry=registry)
    with pytest.raises(StorageRefused):
        scheduler.start()
    assert not scheduler.alive
    path.unlink()
    with scheduler:
        assert scheduler.count_events() == 0
    with VirtualScheduler(path, registry=registry) as other:
        other.schedule_event("tick", every(hours=1))


def test_waiting_for_the_end_lets_time_pass(make: Callable[..., VirtualScheduler]) -> None:
    scheduler = make()
    scheduler.registry.register(lambda: scheduler.shutdown().under_way, "last")
    scheduler.schedule_event("last", once(START.add(hours=1)))
    assert scheduler.wait(60) is False
    assert scheduler.wait() is True
    assert scheduler.now.diff(START).in_minutes() == 60
    with pytest.raises(NotInitialized):
        VirtualScheduler(registry=scheduler.registry).wait(1)
    with pytest.raises(NotInitialized):
        scheduler.dump()
    assert scheduler.next_wake() is None


def test_listings_of_more_than_a_page_are_read_to_the_end() -> None:
    events = [{"job": "x", "trigger": every(minutes=1), "name": "minute"}]
    simulation = simulate(events, START, START.add(hours=20))
    assert len(simulation.executions) == len(simulation.of("minute")) == 1200
    assert len({execution.due for execution in simulation.executions}) == 1200


def test_what_is_played_ends_exactly_its_duration_after_it_began() -> None:
    registry = Registry()
    registry.register(lambda: None, "work")
    begins = [START.add(microseconds=4_020_752_731 + 977 * step) for step in range(50)]
    with VirtualScheduler(start=START, registry=registry, durations=89.0) as scheduler:
        scheduler.schedule_events(
            [{"job": "work", "trigger": once(at), "name": f"{at}"} for at in begins]
        )
        scheduler.advance(7200)
        ran = scheduler.list_executions(limit=100).items
    assert len(ran) == 50
    took = {(run.ended_at - run.started_at).total_seconds() for run in ran}  # type: ignore[operator]  # all have run
    assert took == {89.0}
