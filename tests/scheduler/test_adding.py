"""Events added by many at once: each is stored, or its own caller hears why not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pendulum
import pytest

from kalends import ActorCrashed, ConflictError, StorageUnavailable, once
from kalends.actors.exits import Crash
from kalends.storage.events import EventStore
from kalends.storage.workers import Writer

pytestmark = pytest.mark.on_both
FAR = once(pendulum.datetime(2090, 1, 1, tz="UTC"))
WAIT = 20.0


@contextmanager
def held(virtual: Any) -> Iterator[None]:
    """The writer is busy within: what is asked of it waits together."""
    begun, may_end = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        begun.set()
        assert may_end.wait(WAIT)

    virtual.system.storage.write(hold)
    assert begun.wait(WAIT)
    try:
        yield
    finally:
        may_end.set()


def names(virtual: Any) -> list[str]:
    return sorted(event.name for event in virtual.scheduler.list_events(limit=1000).items)


def taken_up(virtual: Any, count: int, until: Callable[..., Any]) -> None:
    """Wait until the event manager has taken as many messages that it has not answered."""
    until(lambda: len(virtual.system.event_manager.mailbox.unanswered) == count)


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many calls were carried out at once, each time."""
    counts: list[int] = []
    really = EventStore.create_each

    def create_each(self: EventStore, db: Any, calls: Any, *, now: int) -> Any:
        counts.append(len(calls))
        return really(self, db, calls, now=now)

    monkeypatch.setattr(EventStore, "create_each", create_each)
    return counts


def test_two_who_add_one_name_at_once_and_others_beside_them(
    virtual: Any, until: Callable[..., Any], together: list[int]
) -> None:
    wanted = ("same", "same", "other", "same", "another")
    with held(virtual):
        futures = [virtual.scheduler.events.create("tick", FAR, name=name) for name in wanted]
        taken_up(virtual, 5, until)
    made = futures[0].get(timeout=WAIT)
    for place in (1, 3):
        with pytest.raises(ConflictError) as caught:
            futures[place].get(timeout=WAIT)
        assert caught.value.details["event_id"] == made.id
    assert [futures[place].get(timeout=WAIT).name for place in (2, 4)] == ["other", "another"]
    assert together == [5]
    assert names(virtual) == ["another", "other", "same"]
    assert virtual.scheduler.verify().violations == ()


def test_an_actor_that_crashes_while_additions_wait_loses_none(
    make_virtual: Callable[..., Any], until: Callable[..., Any], together: list[int]
) -> None:
    virtual = make_virtual(restart_backoff=0.0).start()
    cell = virtual.system.event_manager
    with held(virtual):
        before = [virtual.scheduler.events.create("tick", FAR, name=f"a{n}") for n in range(3)]
        taken_up(virtual, 3, until)
        cell.tell_urgent(Crash(RuntimeError("a bug")))
        until(lambda: cell.incarnation == 2)
        after = [virtual.scheduler.events.create("tick", FAR, name=f"b{n}") for n in range(3)]
        taken_up(virtual, 6, until)
    assert [future.get(timeout=WAIT).name for future in before] == ["a0", "a1", "a2"]
    assert [future.get(timeout=WAIT).name for future in after] == ["b0", "b1", "b2"]
    assert sum(together) == 6
    assert names(virtual) == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_a_bug_in_one_addition_crashes_the_actor_and_the_others_are_stored(
    make_virtual: Callable[..., Any], until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = make_virtual(restart_backoff=0.0).start()
    really = EventStore.create_each

    def create_each(self: EventStore, db: Any, calls: Any, *, now: int) -> Any:
        if any(call.definitions[0].name == "bad" for call in calls):
            really(self, db, calls, now=now)
            raise ZeroDivisionError
        return really(self, db, calls, now=now)

    monkeypatch.setattr(EventStore, "create_each", create_each)
    with held(virtual):
        wanted = ("a", "bad", "b")
        futures = [virtual.scheduler.events.create("tick", FAR, name=name) for name in wanted]
        taken_up(virtual, 3, until)
    assert [futures[place].get(timeout=WAIT).name for place in (0, 2)] == ["a", "b"]
    with pytest.raises(ActorCrashed) as caught:
        futures[1].get(timeout=WAIT)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    until(lambda: virtual.system.event_manager.incarnation == 2)
    assert names(virtual) == ["a", "b"]


def test_a_shutdown_stores_the_additions_that_it_has_taken(
    make_virtual: Callable[..., Any], until: Callable[..., Any]
) -> None:
    virtual = make_virtual().start()
    ended: list[Any] = []
    with held(virtual):
        futures = [virtual.scheduler.events.create("tick", FAR, name=f"a{n}") for n in range(3)]
        taken_up(virtual, 3, until)
        down = threading.Thread(target=lambda: ended.append(virtual.scheduler.shutdown(WAIT)))
        down.start()
        until(lambda: virtual.scheduler.status().state != "running")
    down.join(WAIT)
    assert ended[0].clean
    assert [future.get(timeout=WAIT).name for future in futures] == ["a0", "a1", "a2"]
    with make_virtual(virtual.path).scheduler as again:
        assert sorted(event.name for event in again.list_events().items) == ["a0", "a1", "a2"]


def test_a_database_that_cannot_be_used_refuses_each_addition_and_keeps_none(
    virtual: Any, until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    really = Writer.commit
    # For what holds the writer, and for what waits meanwhile.
    refusals = [StorageUnavailable("injected", reason="locked") for _ in range(2)]

    def commit(self: Writer, db: Any) -> None:
        if refusals:
            raise refusals.pop()
        really(self, db)

    with held(virtual):
        futures = [virtual.scheduler.events.create("tick", FAR, name=f"a{n}") for n in range(3)]
        taken_up(virtual, 3, until)
        monkeypatch.setattr(Writer, "commit", commit)
    for future in futures:
        with pytest.raises(StorageUnavailable):
            future.get(timeout=WAIT)
    assert names(virtual) == []
    assert virtual.scheduler.schedule_event("tick", FAR, name="a0").name == "a0"
