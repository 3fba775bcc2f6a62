"""The execution tracker: outcomes become durable whatever happens, and the lease is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import apsw
import pendulum
import pytest

from kalends import StorageUnavailable, every, once
from kalends.actors.exits import Crash
from kalends.actors.loop import LoopActor
from kalends.clock import to_us
from kalends.futures import Future, failed
from kalends.model import Fate
from kalends.storage.nodes import NodeStore
from kalends.storage.outcomes import OutcomeStore
from kalends.work import Outcome

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def leases(virtual: Any) -> Any:
    connection = apsw.Connection(str(virtual.path), flags=apsw.SQLITE_OPEN_READONLY)
    found = connection.execute("SELECT id, lease_until FROM nodes").fetchall()
    connection.close()
    return found


def test_an_outcome_survives_a_crash_between_its_record_and_its_end(
    make_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    virtual = make_virtual(restart_backoff=0.0).start()
    really = OutcomeStore.record
    crashes = [True]

    def record(self: OutcomeStore, db: Any, outcomes: Any, now: int) -> Any:
        answer = really(self, db, outcomes, now=now)
        if crashes:
            crashes.pop()
            virtual.system.tracker.tell_urgent(Crash(RuntimeError("a bug")))
        return answer

    monkeypatch.setattr(OutcomeStore, "record", record)
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=1)), name="t")
    virtual.clock.advance(1)
    until(lambda: virtual.ran)
    until(lambda: virtual.scheduler.status().actors[0].restarts == 1)
    virtual.settle()
    assert virtual.ran == [("t", START.add(seconds=1))]
    assert virtual.fates(event) == {1: "succeeded"}
    assert len(virtual.system.outbox) == 0


def test_a_refused_record_is_tried_again_and_nothing_is_lost(
    virtual: Any, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    really = OutcomeStore.record
    failing = [True]

    def record(self: OutcomeStore, db: Any, outcomes: Any, now: int) -> Any:
        if failing[0]:
            raise StorageUnavailable("injected", reason="full")
        return really(self, db, outcomes, now=now)

    monkeypatch.setattr(OutcomeStore, "record", record)
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=1)))
    virtual.clock.advance(1)
    until(lambda: virtual.scheduler.status().unrecorded == 1)
    assert virtual.executions(event)[0].ended_at is None
    failing[0] = False

    def recorded() -> bool:
        virtual.clock.advance(5)  # the tracker may not have been told of the refusal before
        return bool(virtual.scheduler.status().unrecorded == 0)

    until(recorded)
    assert virtual.executions(event)[0].fate == "succeeded"


def test_an_outcome_that_is_no_longer_held_changes_nothing(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=1)))
    virtual.advance(1)
    (execution,) = virtual.executions(event)
    late = Outcome(
        execution_id=execution.id, event_id=event.id, attempt=2, fate=Fate.FAILED,
        started_us=0, ended_us=1,
    )  # fmt: skip
    virtual.system.outbox.put(late)
    virtual.settle()
    assert virtual.executions(event) == [execution]


def test_an_execution_that_takes_its_time_is_seen_running(
    virtual: Any, until: Callable[..., Any]
) -> None:
    event = virtual.scheduler.schedule_event("hold", once(START.add(seconds=1)))
    virtual.clock.advance(1)
    assert virtual.held.acquire(timeout=10)

    def seen() -> int:
        virtual.clock.advance(1)  # the tracker has its timer only once it was told of the begin
        return int(virtual.scheduler.count_executions(event_id=event.id, fate="running"))

    assert until(seen) == 1
    (execution,) = virtual.executions(event)
    assert execution.started_at is not None
    assert execution.attempts[0].outcome == "running"


def test_the_lease_is_renewed_and_given_up_at_the_end(
    virtual: Any, until: Callable[..., Any]
) -> None:
    ((node, first),) = leases(virtual)
    assert node == virtual.scheduler.status().node
    virtual.clock.advance(6)
    until(lambda: leases(virtual)[0][1] > first)
    virtual.scheduler.shutdown()
    assert leases(virtual) == []
    assert [entry.node for entry in _stopped(virtual)] == [node]


def test_a_rescue_that_had_to_wait_is_of_the_time_at_which_its_turn_has_come(
    virtual: Any, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    storage = virtual.system.storage
    begun, may_end = threading.Event(), threading.Event()
    queued: list[Any] = []
    rescued: list[int] = []
    write, rescue = storage.write, NodeStore.rescue

    def written(unit: Any) -> Any:
        future = write(unit)
        queued.append(unit)
        return future

    def seen(self: NodeStore, db: Any, *, now: int) -> Any:
        rescued.append(now)
        return rescue(self, db, now=now)

    def gate(db: Any) -> None:
        begun.set()
        assert may_end.wait(20)

    storage.write(gate)
    assert begun.wait(20)
    monkeypatch.setattr(storage, "write", written)
    monkeypatch.setattr(NodeStore, "rescue", seen)
    virtual.clock.advance(6)
    until(lambda: queued)
    virtual.clock.advance(3)
    may_end.set()
    until(lambda: rescued)
    assert rescued[0] == to_us(START.add(seconds=9), "now")


def _stopped(virtual: Any) -> list[Any]:
    virtual.scheduler.start()
    found: list[Any] = virtual.journal("node_stopped")
    return found


def _lose_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first claims are committed, and the loop hears that nobody knows."""
    really = LoopActor._claimed
    lost = [StorageUnavailable("injected", reason="io_error", outcome="unknown")]

    def claimed(self: LoopActor, done: Future[Any]) -> None:
        really(self, failed(lost.pop()) if lost and done.value and done.value.claims else done)

    monkeypatch.setattr(LoopActor, "_claimed", claimed)


def test_a_claim_whose_commit_nobody_knows_of_is_freed_and_runs(
    virtual: Any, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    _lose_an_answer(monkeypatch)
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=1)), name="t")
    virtual.clock.advance(1)
    until(lambda: virtual.scheduler.count_executions(event_id=event.id, fate="pending"))
    virtual.clock.advance(20)
    until(lambda: virtual.ran)
    virtual.settle()
    assert virtual.ran == [("t", START.add(seconds=1))]
    assert virtual.fates(event) == {1: "succeeded"}
    assert [attempt.number for attempt in virtual.executions(event)[0].attempts] == [1]


def test_an_audit_leaves_alone_what_is_held(virtual: Any, until: Callable[..., Any]) -> None:
    held = virtual.scheduler.schedule_event("hold", once(START.add(seconds=1)))
    virtual.clock.advance(1)
    assert virtual.held.acquire(timeout=10)
    before = virtual.scheduler.status().units
    for _ in range(3):
        virtual.clock.advance(20)
        virtual.settle()
    until(lambda: virtual.scheduler.status().units > before)
    assert virtual.fates(held) == {1: "running"}
    virtual.let_go.set()
    until(lambda: virtual.fates(held) == {1: "succeeded"})


def test_history_is_found_by_event_fate_and_time(virtual: Any) -> None:
    good = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="good")
    bad = virtual.scheduler.schedule_event("boom", every(seconds=10, anchor=START), name="bad")
    for _ in range(4):
        virtual.advance(10)
    scheduler = virtual.scheduler
    assert scheduler.count_executions(event_id=good.id, fate="succeeded") == 4
    assert scheduler.count_executions(fate="failed") == 4
    window = {"since": START.add(seconds=20), "until": START.add(seconds=40)}
    found = scheduler.list_executions(event_id=bad.id, **window).items
    assert [(item.due - START).total_seconds() for item in found] == [30, 20]
    assert found[0].error.message == "boom"
    report = scheduler.report(event_id=bad.id)
    assert report is not None
