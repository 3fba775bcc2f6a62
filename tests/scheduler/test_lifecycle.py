"""Starting, stopping and waiting, in every order and from everywhere."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pendulum
import pytest

from kalends import (
    NotInitialized,
    Registry,
    Scheduler,
    StorageRefused,
    every,
)
from kalends.storage.engine import Storage

PAST = pendulum.datetime(2020, 1, 1, tz="UTC")
AGES = 1e9
"""A catch-up window that reaches back to it."""


def make(path: Any, registry: Registry | None = None, **settings: Any) -> Scheduler:
    return Scheduler(path, registry=registry or Registry(), environ={}, **settings)


def test_a_scheduler_goes_through_its_states(tmp_path: Path) -> None:
    scheduler = make(tmp_path / "k.db")
    assert scheduler.status().state == "new"
    assert list(tmp_path.iterdir()) == []
    scheduler.start()
    status = scheduler.status()
    assert (status.state, status.storage, status.failure) == ("running", "ok", None)
    assert [actor.name for actor in status.actors] == [
        "execution_tracker", "event_manager", "loop", "housekeeper",
    ]  # fmt: skip
    assert {actor.state.value for actor in status.actors} == {"running"}
    report = scheduler.shutdown()
    assert (report.abandoned, report.unrecorded, report.clean) == ((), 0, True)
    assert scheduler.status().state == "stopped"


def test_starting_twice_changes_nothing(tmp_path: Path) -> None:
    with make(tmp_path / "k.db") as scheduler:
        node = scheduler.status().node
        assert scheduler.start() is scheduler
        assert scheduler.status().node == node


def test_many_threads_may_start_it_at_once(tmp_path: Path) -> None:
    scheduler = make(tmp_path / "k.db")
    barrier = threading.Barrier(8)
    nodes: list[str | None] = []

    def start() -> None:
        barrier.wait(10)
        scheduler.start()
        nodes.append(scheduler.status().node)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(nodes) == 8
    assert len(set(nodes)) == 1
    scheduler.shutdown()


def test_every_verb_says_so_before_start_and_after_shutdown(tmp_path: Path) -> None:
    scheduler = make(tmp_path / "k.db")
    for state in ("new", "stopped"):
        with pytest.raises(NotInitialized, match=state):
            scheduler.list_events()
        with pytest.raises(NotInitialized, match=state):
            scheduler.loop.trigger_now("01890a5d-ac96-774b-bcce-b302099a8057").get()
        scheduler.start()
        scheduler.shutdown()


def test_it_starts_again_after_a_shutdown_and_knows_what_it_knew(tmp_path: Path) -> None:
    ran = threading.Semaphore(0)
    registry = Registry()
    registry.register(ran.release, "tick")
    scheduler = make(tmp_path / "k.db", registry)
    with scheduler:
        event = scheduler.schedule_event("tick", every(seconds=0.05))
        assert ran.acquire(timeout=10)
    for _ in range(3):
        with scheduler:
            assert ran.acquire(timeout=10)
            assert scheduler.get_event(event.id).name == event.name


def test_a_shutdown_while_it_starts_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opening, go_on = threading.Event(), threading.Event()
    really_open = Storage.open

    def slow_open(self: Storage) -> None:
        opening.set()
        assert go_on.wait(10)
        really_open(self)

    monkeypatch.setattr(Storage, "open", slow_open)
    scheduler = make(tmp_path / "k.db")
    errors: list[Exception] = []

    def start() -> None:
        try:
            scheduler.start()
        except NotInitialized as error:
            errors.append(error)

    starter = threading.Thread(target=start)
    starter.start()
    assert opening.wait(10)
    assert scheduler.status().state == "starting"
    stopper = threading.Thread(target=scheduler.shutdown)
    stopper.start()
    go_on.set()
    starter.join(20)
    stopper.join(20)
    assert len(errors) == 1
    assert scheduler.status().state == "stopped"


def test_a_start_that_fails_leaves_it_as_it_was_and_is_told_to_all(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    path.write_text("not a database, and long enough to be looked at" * 10)
    scheduler = make(path)
    before = set(threading.enumerate())
    for _ in range(2):
        with pytest.raises(StorageRefused):
            scheduler.start()
        assert scheduler.status().state == "new"
    path.unlink()
    assert set(threading.enumerate()) == before
    with scheduler:
        assert scheduler.status().state == "running"


def test_waiting_ends_with_the_shutdown_or_the_time(tmp_path: Path) -> None:
    scheduler = make(tmp_path / "k.db")
    with pytest.raises(NotInitialized):
        scheduler.wait()
    scheduler.start()
    assert scheduler.wait(0.01) is False
    threading.Timer(0.1, scheduler.shutdown).start()
    assert scheduler.wait() is True
    assert scheduler.wait(0) is True


def test_nothing_runs_and_nothing_is_left_after_a_shutdown(tmp_path: Path) -> None:
    ran: list[int] = []
    first = threading.Event()
    registry = Registry()

    @registry.job("tick")
    def tick() -> None:
        ran.append(1)
        first.set()

    before = set(threading.enumerate())
    with make(tmp_path / "k.db", registry) as scheduler:
        scheduler.schedule_event("tick", every(seconds=0.01))
        assert first.wait(10)
    count = len(ran)
    assert not threading.Event().wait(0.1)
    assert len(ran) == count
    assert set(threading.enumerate()) == before


def test_two_schedulers_in_one_process_share_a_file_and_run_each_instant_once(
    tmp_path: Path,
) -> None:
    ran: list[str] = []
    enough = threading.Event()
    registry = Registry()

    @registry.job("tick")
    def tick() -> None:
        from kalends import current

        ran.append(str(current().due))
        if len(ran) >= 20:
            enough.set()

    with (
        make(tmp_path / "k.db", registry, max_sleep=0.05) as one,
        make(tmp_path / "k.db", registry, max_sleep=0.05) as two,
    ):
        event = one.schedule_event("tick", every(seconds=0.05))
        assert two.get_event(event.id).trigger == one.get_event(event.id).trigger
        assert enough.wait(20)
        assert one.status().node != two.status().node
    assert len(set(ran)) == len(ran)


def test_two_schedulers_in_one_process_on_different_files_do_not_meet(tmp_path: Path) -> None:
    with make(tmp_path / "a.db") as one, make(tmp_path / "b.db") as two, make(":memory:") as three:
        registry_event = one.count_events(), two.count_events(), three.count_events()
        assert registry_event == (0, 0, 0)
        one.shutdown()
        assert two.count_events() == three.count_events() == 0
