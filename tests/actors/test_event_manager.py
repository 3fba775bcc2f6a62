"""The event manager: no claim made under an old definition begins after a change was answered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import KalendsError, StorageUnavailable, VersionConflict, every, once
from kalends.jobs.runner import Runner
from kalends.storage.claims import ClaimStore
from kalends.storage.events import EventStore

START = pendulum.datetime(2027, 1, 1, tz="UTC")


@pytest.fixture
def slow_disarm(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Do something right after the event manager has looked for claims to revoke."""
    really = Runner.disarm

    def arrange(between: Callable[[], None]) -> None:
        once_only = [between]

        def disarm(self: Runner, event_ids: Any) -> Any:
            found = really(self, event_ids)
            if once_only:
                once_only.pop()()
            return found

        monkeypatch.setattr(Runner, "disarm", disarm)

    return arrange


def claim_meanwhile(virtual: Any, taken: list[Any]) -> None:
    """On the hub, before a change is written: the loop's claim goes to the writer first."""
    virtual.clock.advance(9.9)
    system, now = virtual.system, virtual.clock.now_us()
    store = ClaimStore(system.storage.dialect, system.ids, system.node)
    claimed = system.storage.write(
        lambda db: store.claim_due(db, now=now, ahead=250_000, limit=10, settled={})
    )

    def submit(done: Any) -> None:
        taken.extend(done.value.claims)
        system.runner.submit(done.value.claims)

    claimed.add_done_callback(submit)


@pytest.mark.parametrize("verb", ["pause", "delete", "update", "replace"])
def test_a_claim_that_slips_in_before_the_commit_is_revoked_too(
    virtual: Any, slow_disarm: Callable[[Callable[[], None]], None], verb: str
) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="t")
    virtual.settle()
    taken: list[Any] = []
    slow_disarm(lambda: claim_meanwhile(virtual, taken))
    if verb == "pause":
        virtual.scheduler.pause_event(event.id)
    elif verb == "delete":
        virtual.scheduler.delete_event(event.id)
    elif verb == "update":
        virtual.scheduler.update_event(event.id, job="boom", trigger=every(seconds=70))
    else:
        virtual.scheduler.schedule_event("boom", every(seconds=70), name="t", on_conflict="replace")
    virtual.advance(0.1)
    assert [claim.job for claim in taken] == ["tick"]
    assert virtual.ran == []


def test_a_bug_in_a_change_crashes_the_actor_and_the_claims_go_on(
    make_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = make_virtual(restart_backoff=0.0).start()
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=10)), name="t")
    virtual.advance(9.9)

    def update(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(EventStore, "update", update)
    with pytest.raises(KalendsError) as caught:
        virtual.scheduler.update_event(event.id, note="x")
    assert caught.value.code == "ACTOR_CRASHED"
    virtual.advance(0.1)
    assert virtual.ran == [("t", START.add(seconds=10))]


@pytest.mark.parametrize("committed", [True, False])
def test_claims_revoked_for_a_change_whose_commit_nobody_knows_of_run_once(
    virtual: Any, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any], committed: bool
) -> None:
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=10)), name="t")
    virtual.advance(9.9)
    really = EventStore.update
    lost = StorageUnavailable("injected", reason="io_error", outcome="unknown")

    def update(self: EventStore, db: Any, *args: Any, **more: Any) -> Any:
        if committed:
            really(self, db, *args, **more)
            db.connection().execute("COMMIT; BEGIN IMMEDIATE; SAVEPOINT unit")
        raise lost

    monkeypatch.setattr(EventStore, "update", update)
    with pytest.raises(StorageUnavailable):
        virtual.scheduler.update_event(event.id, note="x")
    assert virtual.scheduler.get_event(event.id).note == ("x" if committed else None)
    for _ in range(3):
        virtual.clock.advance(20)
        virtual.settle()
    until(lambda: virtual.ran)
    assert virtual.ran == [("t", START.add(seconds=10))]
    assert virtual.fates(event) == {10: "succeeded"}


def test_claims_that_could_not_be_revoked_at_once_are_revoked_later(
    virtual: Any,
    slow_disarm: Callable[[Callable[[], None]], None],
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[..., Any],
) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START))
    virtual.settle()
    really = EventStore.give_back
    refusals = [StorageUnavailable("injected", reason="full")]

    def give_back(self: EventStore, *args: Any, **more: Any) -> None:
        if refusals:
            raise refusals.pop()
        really(self, *args, **more)

    monkeypatch.setattr(EventStore, "give_back", give_back)
    slow_disarm(lambda: claim_meanwhile(virtual, []))
    with pytest.raises(StorageUnavailable):
        virtual.scheduler.pause_event(event.id)
    assert virtual.scheduler.get_event(event.id).status == "paused"
    assert virtual.scheduler.count_executions(event_id=event.id) == 1
    virtual.clock.advance(0.1)
    virtual.clock.advance(20)
    until(lambda: not virtual.scheduler.count_executions(event_id=event.id))
    assert virtual.ran == []


def test_of_many_who_change_one_version_one_wins_and_the_others_hear(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", once(START.add(years=1)))
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    def change(number: int) -> None:
        barrier.wait(10)
        try:
            virtual.scheduler.update_event(event.id, note=str(number), version=event.version)
            outcomes.append("won")
        except VersionConflict as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["VERSION_CONFLICT"] * 7 + ["won"]
    assert virtual.scheduler.get_event(event.id).version == event.version + 1


def test_changes_by_many_threads_are_committed_together(virtual: Any) -> None:
    virtual.scheduler.keep_house()
    before = virtual.scheduler.status()
    futures = [
        virtual.scheduler.events.create("tick", once(START.add(years=1))) for _ in range(200)
    ]
    assert len({future.get(timeout=20).id for future in futures}) == 200
    after = virtual.scheduler.status()
    assert after.units - before.units >= 200
    assert after.commits - before.commits < 100
