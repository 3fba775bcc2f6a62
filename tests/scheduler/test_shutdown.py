"""Shutting down: from everywhere, with whatever still runs, and within its bound."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import apsw
import pendulum
import pytest

from kalends import (
    AskTimeout,
    NotInitialized,
    Registry,
    Scheduler,
    once,
)
from kalends.futures import Future, failed
from kalends.shutdown import Deadline

PAST = pendulum.datetime(2020, 1, 1, tz="UTC")
AGES = 1e9
"""A catch-up window that reaches back to it."""


def make(path: Any, registry: Registry | None = None, **settings: Any) -> Scheduler:
    return Scheduler(path, registry=registry or Registry(), environ={}, **settings)


def test_shutdown_is_idempotent_and_safe_before_start(tmp_path: Path) -> None:
    scheduler = make(tmp_path / "k.db")
    assert scheduler.shutdown().clean
    scheduler.start()
    assert scheduler.shutdown().clean
    assert scheduler.shutdown().clean


def test_many_threads_may_shut_it_down_at_once_and_hear_the_same(
    tmp_path: Path, blocker: Any
) -> None:
    scheduler = make(tmp_path / "k.db", blocker.registry).start()
    blocker.start(scheduler)
    reports: list[Any] = []
    threads = [
        threading.Thread(target=lambda: reports.append(scheduler.shutdown(0.2))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    blocker.let_go.set()
    assert len(reports) == 8
    assert len({report.abandoned for report in reports}) == 1
    assert len(reports[0].abandoned) == 1


def test_a_running_job_is_waited_for(tmp_path: Path, blocker: Any) -> None:
    scheduler = make(tmp_path / "k.db", blocker.registry).start()
    event = blocker.start(scheduler)
    timer = threading.Timer(0.3, blocker.let_go.set)
    timer.start()
    report = scheduler.shutdown(20)
    timer.join()
    assert report.abandoned == ()
    with make(tmp_path / "k.db", blocker.registry, enabled=False) as again:
        (execution,) = again.list_executions(event_id=event).items
        assert execution.fate == "succeeded"


def test_a_job_that_never_ends_is_abandoned_and_named_within_the_bound(
    tmp_path: Path, blocker: Any
) -> None:
    scheduler = make(tmp_path / "k.db", blocker.registry).start()
    event = blocker.start(scheduler)
    began = time.monotonic()
    report = scheduler.shutdown(0.3)
    assert 0.2 < time.monotonic() - began < 5
    with make(tmp_path / "k.db", blocker.registry, enabled=False) as again:
        (execution,) = again.list_executions(event_id=event).items
        assert report.abandoned == (execution.id,)
        assert execution.fate == "pending"  # the next process takes it over
    blocker.let_go.set()


def test_a_job_that_waits_for_a_thread_is_given_back_not_abandoned(
    tmp_path: Path, blocker: Any
) -> None:
    blocker.registry.register(lambda: None, "tick")
    scheduler = make(tmp_path / "k.db", blocker.registry, workers=1).start()
    blocker.start(scheduler)
    event = scheduler.schedule_event(
        "tick", once(PAST), catch_up_window=AGES, delivery="at_most_once"
    )
    deadline = threading.Event()
    while scheduler.status().in_flight < 2:
        deadline.wait(0.002)
    report = scheduler.shutdown(0.1)
    assert len(report.abandoned) == 1
    blocker.let_go.set()
    with make(tmp_path / "k.db", blocker.registry) as again:
        while not again.count_executions(event_id=event.id, fate="succeeded"):
            deadline.wait(0.002)
        (execution,) = again.list_executions(event_id=event.id).items
        assert [attempt.number for attempt in execution.attempts] == [1]


def test_a_job_may_shut_its_own_scheduler_down(tmp_path: Path) -> None:
    registry = Registry()
    reports: list[Any] = []

    @registry.job("stop")
    def stop() -> None:
        reports.append(scheduler.shutdown(10))

    scheduler = make(tmp_path / "k.db", registry).start()
    event = scheduler.schedule_event("stop", once(PAST), catch_up_window=AGES)
    assert scheduler.wait(20)
    assert [report.under_way for report in reports] == [True]
    assert scheduler.shutdown().clean
    with make(tmp_path / "k.db", registry, enabled=False) as again:
        (execution,) = again.list_executions(event_id=event.id).items
        assert execution.fate == "succeeded"


def test_a_job_may_shut_another_scheduler_down(tmp_path: Path) -> None:
    registry = Registry()
    reports: list[Any] = []
    done = threading.Event()
    other = make(tmp_path / "other.db").start()

    @registry.job("stop")
    def stop() -> None:
        reports.append(other.shutdown(10))
        done.set()

    with make(tmp_path / "k.db", registry) as scheduler:
        scheduler.schedule_event("stop", once(PAST), catch_up_window=AGES)
        assert done.wait(20)
    assert [(report.under_way, report.clean) for report in reports] == [(False, True)]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_signal_handler_may_shut_it_down(tmp_path: Path, blocker: Any) -> None:
    scheduler = make(tmp_path / "k.db", blocker.registry).start()
    blocker.start(scheduler)
    reports: list[Any] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: reports.append(scheduler.shutdown(0.1)))
    try:
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        assert scheduler.wait(20)  # the handler runs above this frame
    finally:
        signal.signal(signal.SIGUSR1, before)
        blocker.let_go.set()
    assert len(reports) == 1
    assert len(reports[0].abandoned) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_signal_handler_may_interrupt_a_shutdown_with_another(
    tmp_path: Path, blocker: Any
) -> None:
    scheduler = make(tmp_path / "k.db", blocker.registry).start()
    blocker.start(scheduler)
    reports: list[Any] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: reports.append(scheduler.shutdown(0.1)))
    try:
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        reports.append(scheduler.shutdown(1.0))
    finally:
        signal.signal(signal.SIGUSR1, before)
        blocker.let_go.set()
    assert len(reports) == 2
    assert reports[0] == reports[1]


def test_an_impatient_shutdown_hurries_a_patient_one_and_gets_the_same_report(
    tmp_path: Path, blocker: Any
) -> None:
    scheduler = make(tmp_path / "k.db", blocker.registry).start()
    blocker.start(scheduler)
    reports: list[Any] = []
    patient = threading.Thread(target=lambda: reports.append(scheduler.shutdown(200)))
    patient.start()
    pause = threading.Event()
    while scheduler.status().state != "stopping":
        pause.wait(0.002)
    pause.wait(0.2)  # it waits for the job by now, not only for the loop
    began = time.monotonic()
    reports.append(scheduler.shutdown(0))
    patient.join(10)
    assert time.monotonic() - began < 10
    blocker.let_go.set()
    assert len(reports) == 2
    assert reports[0] == reports[1]
    assert len(reports[0].abandoned) == 1


def test_a_patient_shutdown_does_not_give_more_time_than_an_earlier_one(
    tmp_path: Path, blocker: Any
) -> None:
    scheduler = make(tmp_path / "k.db", blocker.registry).start()
    blocker.start(scheduler)
    hasty = threading.Thread(target=lambda: scheduler.shutdown(0.5))
    hasty.start()
    pause = threading.Event()
    while scheduler.status().state != "stopping":
        pause.wait(0.002)
    began = time.monotonic()
    assert len(scheduler.shutdown(200).abandoned) == 1
    assert time.monotonic() - began < 10
    hasty.join(10)
    blocker.let_go.set()


def test_a_lowered_deadline_ends_a_wait_that_has_begun() -> None:
    deadline = Deadline()
    deadline.lower(200)
    threading.Timer(0.1, lambda: deadline.lower(0)).start()
    began = time.monotonic()
    with pytest.raises(AskTimeout):
        deadline.wait_for(Future[None]())
    assert 0.4 < time.monotonic() - began < 10  # what is tried at all is tried for half a second
    with pytest.raises(AskTimeout, match="of its own"):
        deadline.wait_for(failed(AskTimeout("of its own")))


def test_shutdown_returns_within_its_bound_while_the_database_is_locked(
    tmp_path: Path, blocker: Any
) -> None:
    scheduler = make(tmp_path / "k.db", blocker.registry, busy_timeout=0.1, lease=1.0).start()
    blocker.start(scheduler)
    other = apsw.Connection(str(tmp_path / "k.db"))
    other.set_busy_timeout(5000)
    other.execute("BEGIN IMMEDIATE")
    blocker.let_go.set()
    began = time.monotonic()
    report = scheduler.shutdown(1.0)
    assert time.monotonic() - began < 10
    assert report.unrecorded == 1
    other.execute("ROLLBACK")
    other.close()
    # Its lease has not been ended, and its process lives on: the lease has to run out.
    with make(tmp_path / "k.db", blocker.registry, housekeeping_every=0.1) as again:
        pause = threading.Event()
        while not again.count_executions(fate="succeeded"):
            pause.wait(0.002)


def test_shutdown_works_when_the_file_is_gone(tmp_path: Path) -> None:
    scheduler = make(tmp_path / "k.db").start()
    for file in tmp_path.iterdir():
        file.unlink()
    began = time.monotonic()
    scheduler.shutdown(1.0)
    assert time.monotonic() - began < 10
    assert scheduler.status().state == "stopped"


def test_an_ask_that_waits_during_the_shutdown_is_answered(tmp_path: Path) -> None:
    scheduler = make(tmp_path / "k.db").start()
    futures = [scheduler.events.count() for _ in range(500)]
    scheduler.shutdown()
    for future in futures:
        try:
            assert future.get(timeout=5) == 0
        except AskTimeout:
            pytest.fail("nobody answered")
        except NotInitialized:
            continue
