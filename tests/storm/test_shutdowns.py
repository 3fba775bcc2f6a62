"""A shutdown in the middle of each storm: in time, with a true report, and nothing left."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import pendulum
import pytest
from tests.storm.flood import Flood

from kalends import StorageUnavailable, every, once
from kalends.actors.event_manager import EventManagerActor
from kalends.actors.execution_tracker import ExecutionTrackerActor
from kalends.actors.housekeeper import HousekeeperActor
from kalends.actors.loop import LoopActor

FAR = pendulum.datetime(2090, 1, 1, tz="UTC")
PATIENCE = 0.3
"""Seconds that the jobs are given."""
BOUND = 20.0
"""Seconds it may take in all: each step that waits for a database has five, and the machine may be
busy."""
CLASSES: tuple[Any, ...] = (ExecutionTrackerActor, EventManagerActor, LoopActor, HousekeeperActor)


@contextmanager
def crashes(storm: Any, tools: Any, rng: random.Random) -> Iterator[None]:
    """Actors crash, all the time and in every way."""
    over = threading.Event()
    cells = [storm.cell(name) for name in storm.restarts()]
    hub = storm.system.hub

    def crash() -> None:
        pause = threading.Event()
        while not over.is_set():
            cell = rng.choice(cells)
            if rng.random() < 0.5:
                cell.tell_urgent(storm.accident(rng.choice(tools.bugs)))
            else:
                hub.call(cell.kill)
            pause.wait(0.002)

    thread = threading.Thread(target=crash)
    thread.start()
    tools.until(lambda: sum(storm.restarts().values()) > 10)
    yield
    over.set()
    thread.join(10.0)


@contextmanager
def flood(storm: Any, tools: Any, rng: random.Random) -> Iterator[None]:
    """More messages come than anybody can handle."""
    event = storm.scheduler.schedule_event("tick", once(FAR), name="far")
    pouring = Flood(storm, event, 80_000_000, "NOT_INITIALIZED", "STORAGE_UNAVAILABLE")
    tools.until(lambda: sum(pourer.refused for pourer in pouring.all) > 0)
    yield
    pouring.end()


@contextmanager
def failing_starts(storm: Any, tools: Any, rng: random.Random) -> Iterator[None]:
    """No actor starts any more."""
    with pytest.MonkeyPatch.context() as patch:
        tried: list[object] = []

        def fail(actor: Any) -> None:
            tried.append(actor)
            raise rng.choice(tools.bugs)("on_start")

        for kind in CLASSES:
            patch.setattr(kind, "on_start", fail)
        storm.crash("execution_tracker")
        storm.crash("housekeeper")
        tools.until(lambda: len(tried) > 10)
        yield


@contextmanager
def locked(storm: Any, tools: Any, rng: random.Random) -> Iterator[None]:
    """Another process holds the database."""
    other = apsw.Connection(str(storm.path))
    other.set_busy_timeout(10_000)
    other.execute("BEGIN IMMEDIATE")
    tools.until(lambda: storm.scheduler.status().storage == "locked")
    yield
    other.execute("ROLLBACK")
    other.close()


@contextmanager
def full(storm: Any, tools: Any, rng: random.Random) -> Iterator[None]:
    """The disk has no room."""

    def limit(db: Any) -> None:
        db.connection().execute("PRAGMA max_page_count=1").fetchall()

    storm.system.storage.write(limit).get(timeout=tools.wait)
    with suppress(StorageUnavailable):
        while True:
            storm.scheduler.schedule_event("tick", once(FAR), note="x" * 2000)
    tools.until(lambda: storm.scheduler.status().storage == "full")
    yield


@contextmanager
def everything(storm: Any, tools: Any, rng: random.Random) -> Iterator[None]:
    """All of it at once, as far as it goes together."""
    with locked(storm, tools, rng), crashes(storm, tools, rng):
        yield


STORMS: dict[str, Callable[..., AbstractContextManager[None]]] = {
    "crashes": crashes,
    "a flood": flood,
    "failing starts": failing_starts,
    "a locked database": locked,
    "a full disk": full,
    "a locked database and crashes": everything,
}


def own_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("kalends")}


def open_files(path: Path) -> list[str]:
    """Handles of this process on the database and what lies beside it."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        try:
            name = os.readlink(handle)
        except OSError:
            continue  # closed meanwhile: the listing's own
        if name.startswith(str(path)):
            found.append(name)
    return found


@pytest.mark.parametrize("name", STORMS)
def test_a_shutdown_in_a_storm_ends_in_time_tells_the_truth_and_leaves_nothing(
    make_storm: Any, tools: Any, rng: random.Random, name: str
) -> None:
    before = own_threads()
    storm = make_storm(restart_intensity=1000, busy_timeout=0.1, mailbox_limit=1000)
    scheduler = storm.scheduler
    for number in range(5):
        scheduler.schedule_event("tick", every(seconds=0.05 + number / 100))
    held = scheduler.trigger_now(scheduler.schedule_event("hold", once(FAR)).id)
    assert storm.begun.acquire(timeout=tools.wait)
    tools.until(lambda: len(storm.ran) > 5)
    system = storm.system
    with STORMS[name](storm, tools, rng):
        began = time.monotonic()
        report = scheduler.shutdown(PATIENCE)
        assert time.monotonic() - began < BOUND
        assert scheduler.status().state == "stopped"
        assert (report.abandoned, report.under_way) == ((held.id,), False)
        assert report.unrecorded == len(system.outbox)
        ran = len(storm.ran)
        threading.Event().wait(0.2)
        assert len(storm.ran) == ran, "nothing runs afterwards"
    storm.let_go.set()
    tools.until(lambda: own_threads() <= before)
    if os.path.exists("/proc/self/fd"):
        assert open_files(storm.path) == []
    goes_on(storm, tools, held.id)


def goes_on(storm: Any, tools: Any, held: str) -> None:
    """The next start takes over what was left."""
    scheduler, ran = storm.scheduler, len(storm.ran)
    scheduler.start()
    tools.until(lambda: scheduler.get_execution(held).fate == "succeeded")
    tools.until(lambda: len(storm.ran) > ran + 5)
    storm.settle()
    assert scheduler.verify(integrity=True).ok
    recorded = scheduler.count_executions(fate="succeeded")
    assert recorded <= len(storm.ran), "what succeeded has run"
