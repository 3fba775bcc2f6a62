"""A process that is killed while somebody operates its events: whole or not at all, and gone on
with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum

from kalends import Fate, every
from kalends.testing import ProcessKilled, StorageStep, VirtualScheduler, assert_accounted

START = pendulum.datetime(2027, 1, 1, tz="UTC")


class Killer:
    """Kills at one step of the storage, counted from 1; 0: never."""

    def __init__(self, scheduler: VirtualScheduler, at: int) -> None:
        self.scheduler, self.at, self.seen, self.armed = scheduler, at, 0, False

    def __call__(self, _: StorageStep) -> None:
        self.seen += self.armed
        if self.armed and self.seen == self.at:
            self.scheduler.kill()


def trying(scheduler: VirtualScheduler, at: int, act: Callable[[str], object]) -> Killer:
    """An hour that was paused, then ``act`` on the event, killed at a step, and gone on."""
    scheduler.kill()
    killer = scheduler.probe = Killer(scheduler, at)
    scheduler.start()
    event = scheduler.schedule_event("tick", every(minutes=10, anchor=START), catch_up="all")
    scheduler.pause_event(event.id, until=START.add(minutes=55))
    scheduler.advance(3600)
    killer.armed = True
    try:
        act(event.id)
        scheduler.advance(600)
    except ProcessKilled:
        scheduler.clock.advance(60)
        scheduler.start()
    killer.armed = False
    scheduler.advance(1800)
    assert_accounted(scheduler)
    assert scheduler.verify().ok
    return killer


def test_a_kill_at_any_step_of_a_backfill_loses_nothing_of_it(make: Any) -> None:
    def story(at: int) -> int:
        scheduler = make()

        def act(event_id: str) -> None:
            scheduler.backfill(event_id, START.subtract(minutes=20), START.add(minutes=55))

        steps = trying(scheduler, at, act).seen
        asked = scheduler.list_journal(kind="event_backfilled").items
        # Asked for before the kill, it is there whole; and then all of it has run.
        for entry in asked:
            found = scheduler.get_backfill(entry.id)
            assert (found.planned, found.fates) == (8, {Fate.SUCCEEDED: 8})
        ran = [item.due for item in scheduler.list_executions(limit=100).items]
        assert len(ran) == len(set(ran))
        assert bool(asked) or at
        return steps

    steps = story(0)
    assert steps > 20
    for at in range(1, steps + 1):
        story(at)


def test_a_kill_at_any_step_of_a_skip_and_a_move_leaves_each_whole(make: Any) -> None:
    def story(at: int) -> int:
        scheduler = make()

        def act(event_id: str) -> None:
            scheduler.skip_next(event_id)
            scheduler.move_next(event_id, scheduler.now.add(minutes=3))

        steps = trying(scheduler, at, act).seen
        skipped = scheduler.list_journal(kind="event_skipped").items
        moved = scheduler.list_journal(kind="event_moved").items
        left_out = [gap for gap in scheduler.list_gaps().items if gap.reason == "excluded_once"]
        assert len(left_out) == len(skipped)
        for entry in moved:
            execution = scheduler.get_execution(entry.details["execution_id"])
            assert (execution.fate, execution.moved_to is None) == (Fate.SUCCEEDED, False)
        assert at or (len(skipped), len(moved)) == (1, 1)
        return steps

    for at in range(1, story(0) + 1):
        story(at)
