"""A database that refuses, disappears or is damaged while the scheduler runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pendulum
import pytest

from kalends import Event, Registry, Scheduler, StorageUnavailable, every, once
from kalends.storage.sqlite import SqliteDialect

PAST = pendulum.datetime(2020, 1, 1, tz="UTC")


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    pause, end = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        pause.wait(0.002)


class Rig:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.ran: list[int] = []
        registry = Registry()
        registry.register(lambda: self.ran.append(1), "tick")
        self.scheduler = Scheduler(path, registry=registry, environ={}, busy_timeout=0.05)
        self.scheduler.start()

    def ticking(self) -> Event:
        event = self.scheduler.schedule_event("tick", every(seconds=0.05))
        wait_until(lambda: self.ran)
        return event

    def runs_on(self) -> None:
        count = len(self.ran)
        wait_until(lambda: len(self.ran) > count)

    def accounts_agree(self, event: Event) -> None:
        self.scheduler.pause_event(event.id)
        wait_until(lambda: not self.scheduler.status().unrecorded)
        event = self.scheduler.get_event(event.id)
        told = [
            item.due for item in self.scheduler.list_executions(event_id=event.id, limit=1000).items
        ]
        for gap in self.scheduler.list_gaps(event_id=event.id, limit=1000).items:
            told += list(event.trigger.between(gap.first, gap.last.add(microseconds=1)))
        assert event.next_due is not None
        assert sorted(told) == list(event.trigger.between(event.accounted_from, event.next_due))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "k.db")
    yield made
    made.scheduler.shutdown(1.0)


def test_a_locked_database_degrades_and_recovers_by_itself(rig: Rig) -> None:
    event = rig.ticking()
    other = apsw.Connection(str(rig.path))
    other.set_busy_timeout(5000)
    other.execute("BEGIN IMMEDIATE")
    wait_until(lambda: rig.scheduler.status().state == "degraded")
    status = rig.scheduler.status()
    assert (status.storage, "database" in (status.degraded or "")) == ("locked", True)
    with pytest.raises(StorageUnavailable) as caught:
        rig.scheduler.schedule_event("tick", once(PAST), catch_up_window=1e9)
    assert caught.value.details["reason"] == "locked"
    assert rig.scheduler.get_event(event.id) is not None  # reading goes on
    pause = threading.Event()
    assert not pause.wait(0.3)
    count = len(rig.ran)
    assert not pause.wait(0.3)
    assert len(rig.ran) == count  # nothing runs without a durable claim
    other.execute("ROLLBACK")
    other.close()
    wait_until(lambda: rig.scheduler.status().state == "running")
    wait_until(lambda: len(rig.ran) > count + 2)
    assert [actor.restarts for actor in rig.scheduler.status().actors] == [0, 0, 0, 0]
    rig.accounts_agree(event)


@pytest.mark.parametrize("kind", ["FullError", "IOError", "BusyError"])
def test_commits_that_fail_lose_nothing_and_run_nothing_twice(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    event = rig.ticking()
    failing = threading.Event()
    really = SqliteDialect.check_identity

    def check(self: SqliteDialect) -> None:
        if failing.is_set():
            raise getattr(apsw, kind)("injected")
        really(self)

    monkeypatch.setattr(SqliteDialect, "check_identity", check)
    for _ in range(5):
        failing.set()
        wait_until(lambda: rig.scheduler.status().state == "degraded")
        failing.clear()
        rig.runs_on()
    wait_until(lambda: rig.scheduler.status().state == "running")
    rig.accounts_agree(event)
    executions = rig.scheduler.count_executions(event_id=event.id, fate="succeeded")
    assert executions == len(rig.ran)
    assert [actor.restarts for actor in rig.scheduler.status().actors] == [0, 0, 0, 0]


def test_a_file_that_was_replaced_is_noticed_and_not_written(rig: Rig) -> None:
    rig.ticking()
    aside = rig.path.with_name("aside.db")
    rig.path.rename(aside)
    rig.path.write_bytes(b"somebody else's")
    wait_until(lambda: rig.scheduler.status().storage == "replaced")
    with pytest.raises(StorageUnavailable):
        rig.scheduler.schedule_event("tick", once(PAST), catch_up_window=1e9)
    assert rig.path.read_bytes() == b"somebody else's"
    rig.path.unlink()
    aside.rename(rig.path)
    count = len(rig.ran)
    wait_until(lambda: len(rig.ran) > count + 2)
    assert rig.scheduler.status().state == "running"


def test_a_shutdown_in_the_middle_of_an_outage_keeps_what_it_can_and_says_the_rest(
    rig: Rig,
) -> None:
    event = rig.ticking()
    other = apsw.Connection(str(rig.path))
    other.set_busy_timeout(5000)
    other.execute("BEGIN IMMEDIATE")
    wait_until(lambda: rig.scheduler.status().state == "degraded")
    began = time.monotonic()
    rig.scheduler.shutdown(0.5)
    assert time.monotonic() - began < 10
    other.execute("ROLLBACK")
    other.close()
    rig.scheduler.start()
    count = len(rig.ran)
    wait_until(lambda: len(rig.ran) > count)
    assert rig.scheduler.get_event(event.id).id == event.id
