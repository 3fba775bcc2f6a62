"""Clocks that jump, machines that sleep, and the ends of time, for a whole scheduler."""

from __future__ import annotations

from collections.abc import Iterator

import pendulum
import pytest
from tests.listing import every_one

from kalends import Registry, cron, every, once
from kalends.testing import VirtualScheduler

START = pendulum.datetime(2027, 1, 1, tz="UTC")
YEAR = 365.25 * 86_400


class World:
    """A scheduler in virtual time with a few rules."""

    def __init__(self, start: pendulum.DateTime) -> None:
        registry = Registry()
        registry.register(lambda: None, "work")
        self.scheduler = VirtualScheduler(start=start, registry=registry).start()
        for name, trigger in (
            ("minutes", every(minutes=1, anchor=start)),
            ("nights", cron("30 2 * * *", tz="Europe/Berlin")),
        ):
            self.scheduler.schedule_event("work", trigger, name=name)

    def rows(self) -> int:
        """Executions and gaps."""
        return len(every_one(self.scheduler.list_executions)) + len(
            every_one(self.scheduler.list_gaps)
        )

    def adds_up(self) -> None:
        """The ledger is whole, and no instant has run twice."""
        found = self.scheduler.verify()
        assert [item.words for item in found.violations] == []
        ran = [
            (item.event_id, item.due)
            for item in every_one(self.scheduler.list_executions, fate="succeeded")
        ]
        assert len(ran) == len(set(ran))
        if not every_one(self.scheduler.list_journal, kind="clock_jumped"):
            begun = every_one(self.scheduler.list_executions, fate="succeeded")
            assert all(item.started_at >= item.due for item in begun), "never before its instant"


@pytest.fixture
def world() -> Iterator[World]:
    made = World(START)
    yield made
    made.scheduler.shutdown()


@pytest.mark.parametrize("seconds", [3600.0, 10 * YEAR, 173 * YEAR])
def test_a_jump_costs_a_few_rows_and_runs_nothing_twice(world: World, seconds: float) -> None:
    world.scheduler.advance(600)
    before = world.rows()
    world.scheduler.jump(seconds)
    world.scheduler.advance(120)
    assert world.rows() - before <= 8, "what was missed is counted, not walked"
    assert len(every_one(world.scheduler.list_journal, kind="clock_jumped")) == 1
    world.adds_up()


@pytest.mark.parametrize("seconds", [3600.0, 10 * YEAR])
def test_after_a_jump_there_and_back_nothing_runs_twice_and_all_goes_on(
    world: World, seconds: float
) -> None:
    world.scheduler.advance(600)
    world.scheduler.jump(seconds)
    world.scheduler.advance(120)
    ran = world.scheduler.count_executions(fate="succeeded")
    world.scheduler.jump(-seconds)
    late = world.scheduler.schedule_event("work", every(seconds=10), name="made afterwards")
    world.scheduler.advance(1800)
    assert world.scheduler.count_executions(fate="succeeded", event_id=late.id) == 180
    assert world.scheduler.count_executions(fate="succeeded") == ran + 180
    world.scheduler.jump(seconds)
    world.scheduler.advance(120)
    assert world.scheduler.count_executions(fate="succeeded") > ran + 180
    world.adds_up()


@pytest.mark.parametrize("seconds", [30.0, 3600.0, 30 * 86_400.0])
def test_a_suspension_is_caught_up_with_like_an_outage(world: World, seconds: float) -> None:
    world.scheduler.advance(600)
    world.scheduler.clock.suspend(seconds)
    world.scheduler.advance(120)
    assert every_one(world.scheduler.list_journal, kind="clock_jumped") == []
    assert len(every_one(world.scheduler.list_journal, kind="suspended")) == 1
    event = world.scheduler.list_events(name="minutes").items[0]
    assert event.next_due is not None
    assert event.next_due > world.scheduler.now
    world.adds_up()


@pytest.mark.parametrize(
    "start", [pendulum.datetime(2038, 1, 19, 3, tz="UTC"), pendulum.datetime(9999, 12, 31)]
)
def test_rules_around_2038_and_on_the_last_day_of_time_run_like_others(
    start: pendulum.DateTime,
) -> None:
    world = World(start)
    last = world.scheduler.schedule_event("work", once(start.add(minutes=20)), name="last")
    world.scheduler.advance(1800)
    minutes = world.scheduler.list_events(name="minutes").items[0]
    assert world.scheduler.count_executions(fate="succeeded", event_id=minutes.id) == 30
    assert world.scheduler.get_event(last.id).status == "completed"
    world.adds_up()
    world.scheduler.shutdown()
