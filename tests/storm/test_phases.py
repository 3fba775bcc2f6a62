"""Actors that crash where it hurts most: while starting, between commits, while draining."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import apsw
import pendulum
import pytest
import structlog

from kalends import ActorCrashed, Delivery, JobNotFound, Scheduler, StorageUnavailable, every, once
from kalends.actors.event_manager import EventManagerActor
from kalends.actors.execution_tracker import ExecutionTrackerActor
from kalends.actors.housekeeper import HousekeeperActor
from kalends.actors.loop import LoopActor

FAR = pendulum.datetime(2090, 1, 1, tz="UTC")
CLASSES = {
    "execution_tracker": ExecutionTrackerActor,
    "event_manager": EventManagerActor,
    "loop": LoopActor,
    "housekeeper": HousekeeperActor,
}
CORE = tuple(CLASSES)[:3]


@pytest.mark.parametrize("actor", CLASSES)
def test_a_restart_that_fails_some_times_is_tried_again(
    make_storm: Any, tools: Any, monkeypatch: pytest.MonkeyPatch, actor: str
) -> None:
    storm = make_storm(restart_intensity=50)
    event = storm.scheduler.schedule_event("tick", once(FAR))
    cls: Any = CLASSES[actor]
    original, bugs = cls.on_start, list(tools.bugs)

    def flaky(self: Any) -> None:
        if bugs:
            raise bugs.pop()("on_start")
        original(self)

    monkeypatch.setattr(cls, "on_start", flaky)
    storm.crash(actor)
    ask: dict[str, Callable[[], Any]] = {
        "execution_tracker": storm.scheduler.executions.count,
        "event_manager": lambda: storm.scheduler.events.get(event.id),
        "loop": lambda: storm.scheduler.loop.trigger_now(event.id),
        "housekeeper": lambda: storm.scheduler.housekeeper.run_cleanup("r"),
    }
    futures = [ask[actor]() for _ in range(20)]
    for future in futures:
        future.get(timeout=tools.wait)
    assert bugs == []
    assert storm.restarts()[actor] == 1, "restarts that failed are none"
    assert storm.cell(actor).incarnation == 2 + len(tools.bugs)
    assert storm.scheduler.status().state == "running"


@pytest.mark.parametrize("order", ["crash first", "fact first"])
@pytest.mark.parametrize("actor", CORE)
def test_a_crash_between_a_commit_and_the_word_of_it_loses_nothing(
    make_storm: Any, tools: Any, actor: str, order: str
) -> None:
    storm = make_storm(restart_intensity=1000, claim_ahead=0.05)
    for number in range(5):
        storm.scheduler.schedule_event("tick", every(seconds=0.05 + number / 100))
    tools.until(lambda: len(storm.ran) > 5)
    for _ in range(5):
        writer = storm.hold_writer()  # claims and outcomes are under way
        threading.Event().wait(0.06)
        hub = storm.hold_hub()
        if order == "crash first":
            storm.crash(actor)
        writer.let_go.set()
        storm.system.storage.write(lambda _: None).get(timeout=tools.wait)
        if order == "fact first":
            storm.crash(actor)
        hub.let_go.set()
        before = len(storm.ran)
        tools.until(lambda before=before: len(storm.ran) > before + 5)
    storm.settle()
    assert storm.check_accounts() > 25
    assert storm.restarts()[actor] >= 5


def test_outcomes_that_two_incarnations_record_are_forgotten_once(
    make_storm: Any, tools: Any
) -> None:
    storm = make_storm(restart_intensity=1000)
    for number in range(8):
        storm.scheduler.schedule_event("tick", every(seconds=0.01 + number / 1000))
    tools.until(lambda: len(storm.ran) > 20)
    for _ in range(12):
        # The first incarnation's transaction still waits when the second writes its own.
        writer, incarnation = storm.hold_writer(), storm.cell("execution_tracker").incarnation
        threading.Event().wait(0.01)
        storm.crash("execution_tracker")
        tools.until(
            lambda before=incarnation: (
                storm.cell("execution_tracker").incarnation > before
                and storm.state("execution_tracker") == "running"
            )
        )
        threading.Event().wait(0.01)
        writer.let_go.set()
        before = len(storm.ran)
        tools.until(lambda before=before: len(storm.ran) > before)
    storm.settle()
    assert storm.check_accounts() > 40


@pytest.mark.parametrize("actor", CORE)
def test_a_crash_while_draining_begins_nothing_and_gives_back_what_was_claimed(
    make_storm: Any, tools: Any, actor: str
) -> None:
    storm = make_storm(restart_intensity=1000, claim_ahead=1.0)
    scheduler = storm.scheduler
    for number in range(6):
        scheduler.schedule_event(
            "tick",
            every(seconds=0.1 + number / 100),
            delivery=Delivery.AT_MOST_ONCE if number % 2 else Delivery.AT_LEAST_ONCE,
        )
    running = scheduler.trigger_now(scheduler.schedule_event("hold", once(FAR)).id)
    assert storm.begun.acquire(timeout=tools.wait)
    tools.until(lambda: len(storm.ran) > 10)
    system, reports = storm.system, []
    stopping = threading.Thread(target=lambda: reports.append(scheduler.shutdown(10.0)))
    writer = storm.hold_writer()
    storm.crash(actor)
    stopping.start()
    tools.until(lambda: system.runner.halted)
    before = len(storm.ran)
    for _ in range(5):
        incarnation = storm.cell(actor).incarnation
        storm.kill(actor)
        tools.until(lambda before=incarnation: storm.cell(actor).incarnation > before)
    writer.let_go.set()
    storm.crash(actor)
    assert storm.begun.acquire(timeout=0.3) is False
    storm.let_go.set()
    stopping.join(tools.wait)
    assert len(storm.ran) == before, "a job began after the shutdown had"
    assert [(r.abandoned, r.unrecorded, r.clean) for r in reports] == [((), 0, True)]
    scheduler.start()
    assert scheduler.get_execution(running.id).fate == "succeeded"
    tools.until(lambda: len(storm.ran) > before + 6)
    storm.settle()
    assert storm.check_accounts() > 10


def test_a_claim_under_way_when_the_draining_crashes_is_given_back(
    make_storm: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storm = make_storm(restart_backoff=30.0, restart_backoff_limit=30.0, claim_ahead=0.1)
    scheduler = storm.scheduler
    event = scheduler.schedule_event("tick", every(seconds=0.1), delivery=Delivery.AT_MOST_ONCE)
    tools.until(lambda: len(storm.ran) > 2)

    def crash(*_: Any) -> None:
        raise RuntimeError("a bug in the draining")

    monkeypatch.setattr(LoopActor, "drain", crash)
    writer, system = storm.hold_writer(), storm.system
    tools.until(lambda: len(system.storage._writer._queue) > 0)
    threading.Event().wait(0.3)  # the instants that are being claimed pass
    stopping = threading.Thread(target=lambda: scheduler.shutdown(10.0))
    stopping.start()
    tools.until(lambda: storm.state("loop") == "restarting")
    before = len(storm.ran)
    threading.Event().wait(0.1)
    writer.let_go.set()
    stopping.join(tools.wait)
    assert len(storm.ran) == before
    scheduler.start()
    assert scheduler.count_executions(event_id=event.id, fate="lost") == 0
    tools.until(lambda: len(storm.ran) > before + 3)
    storm.settle()
    assert storm.check_accounts() > 5


@pytest.fixture
def locking(make_storm: Any) -> Iterator[Callable[[Any], Any]]:
    """Another process's connection that holds the database's lock."""
    made: list[apsw.Connection] = []

    def lock(storm: Any) -> apsw.Connection:
        made.append(apsw.Connection(str(storm.path)))
        made[-1].set_busy_timeout(10_000)
        made[-1].execute("BEGIN IMMEDIATE")
        return made[-1]

    yield lock
    for connection in made:
        connection.close()


def crash_in_turn(storm: Any, tools: Any, times: int) -> None:
    """Crash the core's actors, each when all run again."""
    for _ in range(times):
        for actor in CORE:
            before = storm.cell(actor).incarnation
            storm.crash(actor)
            tools.until(
                lambda actor=actor, before=before: (
                    storm.cell(actor).incarnation > before
                    and all(storm.state(member) == "running" for member in CORE)
                )
            )


def test_a_locked_database_and_crashing_actors_together_are_survived(
    make_storm: Any, tools: Any, locking: Callable[[Any], Any]
) -> None:
    storm = make_storm(restart_intensity=6, restart_period=60.0, busy_timeout=0.1)
    scheduler = storm.scheduler
    for number in range(5):
        scheduler.schedule_event("tick", every(seconds=0.1 + number / 50))
    tools.until(lambda: len(storm.ran) > 5)
    other = locking(storm)
    crash_in_turn(storm, tools, 2)
    tools.until(lambda: scheduler.status().state == "degraded")
    assert scheduler.status().storage == "locked"
    durable = claimed(other)
    assert {(event, due) for event, due in in_microseconds(storm)} <= durable
    with pytest.raises(StorageUnavailable):
        scheduler.schedule_event("tick", once(FAR), name="refused")
    pause = threading.Event()
    pause.wait(0.5)
    assert {(event, due) for event, due in in_microseconds(storm)} <= durable
    assert scheduler.count_events(name="refused") == 0, "reading goes on"
    other.execute("ROLLBACK")
    before = len(storm.ran)
    tools.until(lambda: len(storm.ran) > before + 5)
    scheduler.keep_house()  # a round that the database refused is mended by the next
    tools.until(lambda: scheduler.status().state == "running")
    storm.settle()
    assert storm.check_accounts() > 10


def test_a_host_whose_log_raises_loses_its_log_and_nothing_else(
    make_storm: Any, tools: Any, locking: Callable[[Any], Any]
) -> None:
    storm = make_storm(restart_intensity=1000, busy_timeout=0.1)

    def broken(*_: Any) -> Any:
        raise OSError("the log's disk is full")

    structlog.configure(processors=[broken])  # the fixture of the log puts it right again
    other = locking(storm)
    with pytest.raises(StorageUnavailable):
        storm.scheduler.schedule_event("tick", once(FAR))
    other.execute("ROLLBACK")
    crash_in_turn(storm, tools, 1)
    storm.scheduler.schedule_event("tick", every(seconds=0.05))
    tools.until(lambda: len(storm.ran) > 2)
    assert storm.scheduler.keep_house().errors == {}
    assert storm.scheduler.status().state == "running"


def claimed(connection: apsw.Connection) -> set[tuple[Any, ...]]:
    return set(connection.execute("SELECT event_id, due FROM executions").fetchall())


def in_microseconds(storm: Any) -> list[tuple[str, int]]:
    return [(event, round(due.timestamp() * 1_000_000)) for event, due in storm.ran]


def fill(scheduler: Scheduler) -> None:
    for _ in range(200):
        scheduler.schedule_event("tick", once(FAR), note="x" * 2000)


def test_a_full_disk_and_crashing_actors_together_are_survived(make_storm: Any, tools: Any) -> None:
    storm = make_storm(restart_intensity=12, restart_period=60.0)
    scheduler = storm.scheduler
    for number in range(5):
        scheduler.schedule_event("tick", every(seconds=0.1 + number / 50))
    tools.until(lambda: len(storm.ran) > 5)

    def limit(db: Any, pages: str) -> None:
        db.connection().execute(f"PRAGMA max_page_count={pages}").fetchall()

    storm.system.storage.write(lambda db: limit(db, "1")).get(timeout=tools.wait)
    with pytest.raises(StorageUnavailable) as caught:
        fill(scheduler)
    assert caught.value.details["reason"] == "full"
    crash_in_turn(storm, tools, 4)
    tools.until(lambda: scheduler.status().storage == "full")
    assert scheduler.status().state == "degraded"
    storm.system.storage.write(lambda db: limit(db, "100000")).get(timeout=tools.wait)
    before = len(storm.ran)
    tools.until(lambda: len(storm.ran) > before + 5)
    scheduler.keep_house()  # a round that the database refused is mended by the next
    tools.until(lambda: scheduler.status().state == "running")
    storm.settle()
    assert storm.check_accounts() > 10


def test_a_claim_that_cannot_run_is_told_of_though_the_database_was_away(
    make_storm: Any, tools: Any, locking: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kalends.actors.loop._RETRY_LIMIT", 0.05)
    storm = make_storm(busy_timeout=0.05)
    event = storm.scheduler.schedule_event("tick", once(FAR))
    others: list[Any] = []

    def missing(_: Any) -> None:
        others.append(locking(storm))
        raise JobNotFound("it is gone")

    monkeypatch.setattr(storm.system.runner._dispatcher, "_place", missing)
    run = storm.scheduler.trigger_now(event.id)
    tools.until(lambda: storm.scheduler.status().storage == "locked")
    others[0].execute("ROLLBACK")
    tools.until(lambda: storm.scheduler.get_execution(run.id).fate == "skipped")
    assert storm.scheduler.get_event(event.id).status == "quarantined"


def test_crashes_from_all_sides_at_once_end_in_a_whole_tree(
    make_storm: Any, tools: Any, rng: random.Random
) -> None:
    storm = make_storm(restart_intensity=1000)
    for number in range(5):
        storm.scheduler.schedule_event("tick", every(seconds=0.05 + number / 50))
    end = time.monotonic() + 1.0 * tools.scale
    while time.monotonic() < end:
        actor = rng.choice(list(CLASSES))
        if rng.random() < 0.5:
            storm.crash(actor, rng.choice(tools.bugs))
        else:
            storm.kill(actor)
        if rng.random() < 0.1:
            try:
                storm.scheduler.count_events()
            except ActorCrashed:
                continue
    tools.until(lambda: all(storm.state(actor) == "running" for actor in CLASSES))
    before = len(storm.ran)
    tools.until(lambda: len(storm.ran) > before + 5)
    storm.settle()
    assert storm.check_accounts() > 5
