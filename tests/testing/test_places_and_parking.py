"""Turns and places: what is set free is another's at once, and nothing takes a turn twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pendulum

from kalends import Fate, every, once
from kalends.testing import VirtualScheduler
from kalends.triggers import Trigger

START = pendulum.datetime(2027, 1, 1, tz="UTC")
Make = Callable[..., VirtualScheduler]


def test_the_places_of_what_trigger_now_has_ended_are_given_to_what_is_due(make: Make) -> None:
    scheduler = make(durations=60.0, concurrency_limits={"two": 2})
    long = scheduler.schedule_event(
        "tick", every(seconds=1, anchor=START), overlap="allow_all", concurrency_limit="two"
    )
    waits = scheduler.schedule_event(
        "tick", once(START.add(seconds=3)), concurrency_limit="two", priority=1
    )
    scheduler.advance(3.5)
    assert scheduler.count_executions(event_id=waits.id) == 0, "both places are taken"
    scheduler.trigger_now(long.id, overlap="terminate_other")
    (begun,) = scheduler.list_executions(event_id=waits.id).items
    assert begun.claimed_at == scheduler.now
    assert scheduler.count_executions(event_id=long.id, fate=Fate.CANCELLED) == 2


def test_what_was_moved_and_has_come_is_skipped_when_its_event_is_paused(make: Make) -> None:
    scheduler = make(durations=600.0)
    event = scheduler.schedule_event("tick", every(hours=1, anchor=START), overlap="buffer_one")
    scheduler.trigger_now(event.id)
    moved = scheduler.move_next(event.id, START.add(minutes=1))
    ahead = scheduler.move_next(event.id, START.add(minutes=9))
    scheduler.advance(120)
    assert scheduler.get_execution(moved.id).fate is Fate.PENDING, "it waits for its turn"
    scheduler.pause_event(event.id)
    skipped = scheduler.get_execution(moved.id)
    assert (skipped.fate, str(skipped.reason)) == (Fate.SKIPPED, "paused")
    assert scheduler.get_execution(ahead.id).fate is Fate.PENDING, "its time has not come"


def test_of_what_waits_and_what_is_due_longer_only_one_is_claimed_at_a_time(make: Make) -> None:
    scheduler = make(durations=2.0, concurrency_limits={"two": 2})
    event = scheduler.schedule_event(
        "tick", every(seconds=10, anchor=START), overlap="buffer_one", concurrency_limit="two"
    )
    scheduler.advance(15)
    scheduler.kill()
    scheduler.clock.advance(30)
    client = scheduler.reader().start()
    client.backfill(event.id, START.subtract(seconds=30), START)
    client.shutdown()
    scheduler.start()
    held = [one.due for one in scheduler.list_executions(event_id=event.id).items if one.node]
    assert held == [START.add(seconds=40), START.add(seconds=10)], "the latter has ended"
    scheduler.advance(60)
    runs = scheduler.list_executions(event_id=event.id, fate=Fate.SUCCEEDED).items
    times = sorted((one.claimed_at, one.ended_at) for one in runs)
    assert len(runs) == 8 + 3
    assert all(later >= ended for (_, ended), (later, _) in itertools.pairwise(times) if ended)


def test_trigger_now_leaves_alone_what_it_runs_beside_and_what_waits(make: Make) -> None:
    scheduler = make(durations=60.0, failures=lambda due, attempt, rng: attempt == 1)
    event = scheduler.schedule_event(
        "tick", every(hours=1, anchor=START), overlap="allow_all", retries=1, retry_delay=30
    )
    scheduler.trigger_now(event.id)
    scheduler.advance(61)  # it waits for its second attempt
    scheduler.trigger_now(event.id)
    scheduler.trigger_now(event.id)
    found = scheduler.list_executions(event_id=event.id).items
    assert [one.fate for one in found] == [Fate.PENDING] * 3
    assert not any(one.cancel_requested for one in found)
    scheduler.advance(600)
    assert scheduler.count_executions(event_id=event.id, fate=Fate.SUCCEEDED) == 3


def test_places_that_an_event_without_a_limit_sets_free_are_given_away_at_once(make: Make) -> None:
    scheduler = make(durations=60.0, concurrency_limits={"one": 1})
    event = scheduler.schedule_event(
        "tick", every(seconds=10, anchor=START), concurrency_limit="one"
    )
    waits = scheduler.schedule_event("tick", once(START.add(seconds=12)), concurrency_limit="one")
    scheduler.advance(15)
    scheduler.update_event(event.id, concurrency_limit=None, overlap="terminate_other")
    scheduler.advance(5)
    (begun,) = scheduler.list_executions(event_id=waits.id).items
    assert begun.claimed_at == START.add(seconds=20)


def test_what_is_due_for_longer_goes_before_what_waits_also_behind_what_is_missed(
    make: Make,
) -> None:
    long = {"long": 30.0, "missed": 1.0, "due": 1.0, "moved": 1.0}
    scheduler = make(durations=long, concurrency_limits={"one": 1})

    def limited(name: str, second: int, **policies: Any) -> str:
        rule = once(START.add(seconds=second))
        event = scheduler.schedule_event(
            "tick", rule, name=name, concurrency_limit="one", **policies
        )
        return event.id

    limited("long", 1)
    limited("missed", 2, catch_up="skip")
    due, moved = limited("due", 6), limited("moved", 60)
    scheduler.move_next(moved, START.add(seconds=20))
    scheduler.advance(40)
    (first,) = scheduler.list_executions(event_id=due).items
    (second,) = scheduler.list_executions(event_id=moved).items
    assert (first.started_at, second.started_at) == (START.add(seconds=31), START.add(seconds=32))


def test_a_retry_that_need_not_make_way_after_all_goes_before_what_came_later(make: Make) -> None:
    scheduler = make(
        durations={"long": 100.0, "short": 27.0, "again": 1.0, "later": 1.0},
        failures={"again": lambda due, attempt, rng: attempt == 1},
        concurrency_limits={"two": 2},
    )

    def limited(name: str, rule: Trigger, **policies: Any) -> str:
        event = scheduler.schedule_event(
            "tick", rule, name=name, concurrency_limit="two", **policies
        )
        return event.id

    limited("long", once(START.add(seconds=0.5)))
    limited("short", once(START.add(seconds=3)))
    again = limited(
        "again",
        every(seconds=19, anchor=START.add(seconds=1)),
        overlap="cancel_other",
        catch_up="skip",
        retries=1,
        retry_delay=8,
        retry_jitter=0.0,
    )
    later = limited("later", once(START.add(minutes=9)))
    scheduler.move_next(later, START.add(seconds=25))
    scheduler.advance(35)
    first = scheduler.list_executions(event_id=again, descending=False).items[0]
    (second,) = scheduler.list_executions(event_id=later).items
    assert (first.fate, first.started_at) == (Fate.SUCCEEDED, START.add(seconds=30))
    assert second.started_at == START.add(seconds=31)
