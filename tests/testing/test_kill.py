"""A kill in virtual time: wherever it strikes, what was committed is there and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pendulum
import pytest

from kalends import StorageUnavailable, current, every, once
from kalends.storage.nodes import NodeStore
from kalends.testing import ProcessKilled, StorageStep, VirtualScheduler, assert_accounted, sleep

START = pendulum.datetime(2027, 1, 1, tz="UTC")


class Saboteur:
    """A probe that acts at one step, counted from 1 over all steps; 0: never."""

    def __init__(self, act: Callable[[], None], at: int = 0, step: StorageStep | None = None):
        self.act, self.at, self.step, self.seen = act, at, step, 0
        self.watching = True

    def __call__(self, step: StorageStep) -> None:
        if self.watching and self.step in (None, step):
            self.seen += 1
            if self.seen == self.at:
                self.act()


def accounts(scheduler: VirtualScheduler) -> list[pendulum.DateTime]:
    """Every accounted instant, gaps spelled out; each must be there once."""
    event = scheduler.list_events().items[0]
    told = [item.due for item in scheduler.list_executions(limit=1000).items]
    for gap in scheduler.list_gaps(limit=1000).items:
        told += event.trigger.between(gap.first, gap.last.add(microseconds=1))
    assert len(told) == len(set(told))
    return sorted(told)


@pytest.mark.parametrize("where", ["memory", "file"])
def test_after_a_kill_the_next_process_takes_over(make: Any, tmp_path: Path, where: str) -> None:
    database = ":memory:" if where == "memory" else tmp_path / "k.db"
    scheduler = make(database, durations={"tick": 300})
    scheduler.schedule_event("tick", every(minutes=10), name="ten")
    scheduler.advance(660)
    assert scheduler.count_executions(fate="running") == 1
    assert not scheduler.kill().alive
    assert scheduler.status().state == "stopped"
    scheduler.advance(1200)
    scheduler.start().advance(600)
    first = scheduler.list_executions(descending=False).items[0]
    assert [attempt.outcome for attempt in first.attempts] == ["lost", "succeeded"]
    kinds = [entry.kind.value for entry in scheduler.list_journal().items]
    assert kinds == ["node_died", "node_started", "downtime", "events_created", "node_started"]
    assert accounts(scheduler) == [START.add(minutes=10 * n) for n in (1, 2, 3, 4)]


def held_and_killed(make: Any) -> Any:
    """A scheduler with five executions of a process that is gone."""
    scheduler = make(durations={"tick": 300})
    for number in range(5):
        scheduler.schedule_event("tick", every(minutes=10), name=f"{number}")
    scheduler.advance(660)
    assert scheduler.count_executions(fate="running") == 5
    scheduler.kill()
    scheduler.advance(60)
    return scheduler


def test_what_a_killed_process_held_is_freed_a_stretch_at_a_time(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NodeStore.rescue, "__kwdefaults__", {"limit": 2})
    scheduler = held_and_killed(make).start()
    died = scheduler.list_journal(kind="node_died").items
    assert [entry.details["reopened"] for entry in died] == [1, 2, 2]
    assert len({entry.node for entry in died}) == 1
    scheduler.advance(400)
    for execution in scheduler.list_executions().items:
        assert [attempt.outcome for attempt in execution.attempts] == ["lost", "succeeded"]
    assert scheduler.verify().violations == ()


def test_a_rescue_that_is_killed_half_way_is_gone_on_with(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NodeStore.rescue, "__kwdefaults__", {"limit": 2})
    for at in range(1, 12):
        scheduler = held_and_killed(make)
        scheduler.probe = Saboteur(scheduler.kill, at)
        with contextlib.suppress(ProcessKilled):
            scheduler.start()
        scheduler.probe = None
        assert not scheduler.alive
        scheduler.start().advance(1200)
        assert scheduler.verify().violations == ()
        first = [
            item for item in scheduler.list_executions().items if item.due == START.add(minutes=10)
        ]
        assert [item.attempts[0].outcome for item in first] == ["lost"] * 5


def test_a_kill_at_any_step_of_any_transaction_loses_no_instant(make: Any) -> None:
    quiet = Saboteur(lambda: None)
    assert not story(make(), quiet)
    assert quiet.seen > 60
    for at in range(1, quiet.seen + 1):
        scheduler = make()
        assert story(scheduler, Saboteur(scheduler.kill, at))


def story(scheduler: VirtualScheduler, probe: Saboteur) -> bool:
    """An hour of one event; where the process is killed, the next one comes half an hour later."""
    scheduler.kill()
    scheduler.probe = probe
    killed = False

    def begin() -> None:
        scheduler.start()
        rule = every(minutes=10, anchor=START)
        scheduler.schedule_event("tick", rule, name="ten", on_conflict="keep")

    for act in (begin, lambda: scheduler.advance_to(START.add(hours=1))):
        try:
            act()
        except ProcessKilled:
            killed, scheduler.probe = True, None
            scheduler.clock.advance(1800)
            begin()
    probe.watching = False
    scheduler.advance_to(START.add(hours=2))
    event = scheduler.list_events().items[0]
    assert event.next_due is not None
    assert event.next_due > scheduler.now
    assert accounts(scheduler) == list(event.trigger.between(event.accounted_from, event.next_due))
    assert_accounted(scheduler)
    return killed


def test_nobody_is_told_of_a_kill(make: Any, logged: list[dict[str, Any]]) -> None:
    told: list[BaseException] = []
    scheduler = make(on_failure=told.append)
    scheduler.schedule_event("tick", every(minutes=10))
    scheduler.advance(600)
    before = len(logged)
    assert scheduler.kill().wait(10) is True
    assert told == []
    assert logged[before:] == []


def test_a_kill_by_a_job_takes_the_job_with_it(make: Any) -> None:
    scheduler = make()
    went_on: list[int] = []

    @scheduler.registry.job("last")  # type: ignore[untyped-decorator]
    def last() -> None:
        if current().attempt == 1:
            scheduler.kill()
            went_on.append(1)

    scheduler.schedule_event("last", once(START.add(seconds=10)))
    with pytest.raises(ProcessKilled):
        scheduler.advance(60)
    assert scheduler.now == START.add(seconds=10)
    assert went_on == []
    scheduler.start().advance(60)
    (execution,) = scheduler.list_executions().items
    assert [attempt.outcome for attempt in execution.attempts] == ["lost", "succeeded"]


def test_a_job_that_sleeps_does_not_wake_after_a_kill(make: Any) -> None:
    scheduler = make()
    went_on: list[int] = []

    def slow() -> None:
        if current().attempt == 1:
            try:
                sleep(100)
                went_on.append(1)
            except Exception:
                went_on.append(2)

    scheduler.registry.register(slow, "slow")
    scheduler.schedule_event("slow", once(START.add(seconds=10)))
    scheduler.advance(50)
    scheduler.kill()
    scheduler.start().advance(600)
    assert went_on == []


def test_a_commit_that_fails_is_tried_again_and_nothing_runs_meanwhile(make: Any) -> None:
    def refuse() -> None:
        raise StorageUnavailable("the disk is full", reason="full")

    scheduler = make(probe=(saboteur := Saboteur(refuse, step=StorageStep.COMMIT)))
    scheduler.schedule_event("tick", once(START.add(seconds=10)))
    saboteur.at = saboteur.seen + 1
    scheduler.advance(60)
    (execution,) = scheduler.list_executions().items
    assert execution.fate == "succeeded"
    assert execution.claimed_at is not None
    assert execution.claimed_at > START.add(seconds=9.75)  # the claim was made at the second try


def test_a_commit_of_unknown_outcome_claims_nothing_twice(make: Any) -> None:
    def lose() -> None:
        raise StorageUnavailable("the connection broke", reason="io_error")

    scheduler = make(probe=(saboteur := Saboteur(lose, step=StorageStep.COMMITTED)), lease=60.0)
    scheduler.schedule_event("tick", once(START.add(seconds=10)))
    saboteur.at = saboteur.seen + 1
    scheduler.advance(300)
    (execution,) = scheduler.list_executions().items
    assert execution.fate == "succeeded"
    assert len(execution.attempts) == 1


def test_a_start_that_is_killed_half_way_leaves_a_database_that_starts(make: Any) -> None:
    scheduler = make()
    scheduler.kill()
    scheduler.probe = Saboteur(scheduler.kill, 2)
    with pytest.raises(ProcessKilled):
        scheduler.start()
    assert not scheduler.alive
    scheduler.probe = None
    assert scheduler.start().alive
