"""Subscriptions through real schedulers: what is told, when, in which order, and when it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalends import Fate, Notice, Reason, Registry, Scheduler, ValidationFailed, every, once
from kalends.actors.exits import Crash
from kalends.storage.models import ExecutionRow
from kalends.testing import VirtualScheduler

FAR = every(days=300)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(lambda: None, "work")
    registry.register(lambda: 1 / 0, "boom")
    return registry


async def later(_: Notice) -> None:
    """Nobody would await it."""


def kinds(notices: list[Notice]) -> list[str]:
    return [notice.kind for notice in notices]


def all_of(subscription: Any) -> list[Notice]:
    """What is queued by now."""
    found = []
    while len(subscription):
        found.append(subscription.get(1))
    return found


def test_the_life_of_an_execution_is_told_in_order(registry: Registry) -> None:
    with Scheduler(":memory:", registry=registry) as scheduler:
        heard = scheduler.subscribe(
            kinds=["execution_claimed", "execution_started", "execution_ended"]
        )
        event = scheduler.schedule_event("work", FAR, name="daily")
        execution = scheduler.trigger_now(event.id)
        found = [heard.get(30) for _ in range(3)]
        for notice, kind in zip(found, ("claimed", "started", "ended"), strict=True):
            assert notice is not None
            assert notice.kind == f"execution_{kind}"
            assert (notice.event_id, notice.event_name, notice.job) == (event.id, "daily", "work")
            assert (notice.execution_id, notice.attempt) == (execution.id, 1)
            assert notice.due == execution.due
        ended = found[-1]
        assert ended is not None
        assert (ended.fate, ended.reason, ended.error) == (Fate.SUCCEEDED, None, None)
        assert ended.lateness is not None
        assert ended.duration is not None
        # It is durable by the time it is told.
        assert scheduler.get_execution(execution.id).fate == Fate.SUCCEEDED


def test_attempts_skips_and_fates_are_told_in_virtual_time(registry: Registry) -> None:
    virtual = VirtualScheduler(registry=registry, durations={"work": 150}).start()
    heard = virtual.subscribe(kinds=["execution_retried", "execution_ended", "instants_skipped"])
    start = virtual.now
    virtual.schedule_event("boom", once(start.add(seconds=1)), retries=1, retry_delay=5)
    virtual.advance(60)
    retried, ended = all_of(heard)
    assert (retried.kind, retried.fate, retried.attempt) == ("execution_retried", "failed", 1)
    assert retried.error is not None
    assert retried.error.type == "ZeroDivisionError"
    assert "ready_at" in retried.details
    assert (ended.kind, ended.fate, ended.attempt) == ("execution_ended", "failed", 2)
    assert ended.reason == Reason.EXHAUSTED
    virtual.schedule_event("work", every(minutes=1, anchor=start), name="slow")
    virtual.advance(400)
    told = all_of(heard)
    skipped = [notice for notice in told if notice.kind == "instants_skipped"]
    assert {(notice.reason, notice.event_name) for notice in skipped} == {("overlap", "slow")}
    assert (
        sum(notice.details["count"] for notice in skipped) == virtual.report().fates[Fate.SKIPPED]
    )
    succeeded = [notice for notice in told if notice.fate == "succeeded"]
    assert {notice.duration for notice in succeeded} == {150.0}
    virtual.shutdown()


def test_what_a_rescue_makes_of_executions_is_told(registry: Registry) -> None:
    virtual = VirtualScheduler(registry=registry, durations={"work": 150}).start()
    soon = virtual.now.add(seconds=1)
    lost = virtual.schedule_event("work", once(soon), delivery="at_most_once")
    asked = virtual.schedule_event("work", once(soon))
    again = virtual.schedule_event("work", once(soon))
    virtual.advance(10)
    (called_off,) = virtual.list_executions(event_id=asked.id).items
    virtual.cancel_execution(called_off.id)
    virtual.kill()
    heard = virtual.subscribe(kinds="execution_ended")
    virtual.start()
    told = {notice.event_id: (notice.fate, notice.reason) for notice in all_of(heard)}
    assert told == {
        lost.id: (Fate.LOST, Reason.PROCESS_DIED),
        asked.id: (Fate.CANCELLED, Reason.REQUESTED),
    }
    virtual.advance(300)
    assert [(notice.event_id, notice.fate) for notice in all_of(heard)] == [
        (again.id, Fate.SUCCEEDED)
    ]
    virtual.shutdown()


def test_what_a_round_of_housekeeping_frees_and_what_a_shutdown_leaves_are_told(
    tmp_path: Path, blocker: Any
) -> None:
    path, registry = tmp_path / "k.db", blocker.registry
    with Scheduler(path, registry=registry, lease=300.0) as rescuer:
        heard = rescuer.subscribe(kinds="execution_ended")
        leaver = Scheduler(path, registry=registry).start()
        leaving = leaver.subscribe(kinds="execution_ended")
        event = leaver.schedule_event("block", FAR, delivery="at_most_once")
        execution = leaver.trigger_now(event.id)
        assert blocker.begun.wait(30)
        assert leaver.shutdown(0.0).abandoned == (execution.id,)
        (told,) = list(leaving)
        assert (told.execution_id, told.fate) == (execution.id, Fate.LOST)
        claimed = rescuer.trigger_now(event.id)
        assert rescuer._system is not None
        rescuer._system.storage.write(
            lambda db: (
                ExecutionRow.update(node="nobody").where(ExecutionRow.id == claimed.id).execute(db)
            )
        ).get(timeout=10)
        rescuer.keep_house()
        found = heard.get(30)
        assert found is not None
        assert (found.execution_id, found.fate) == (claimed.id, Fate.LOST)
        blocker.let_go.set()


def test_the_journal_is_told_with_author_and_note(registry: Registry, tmp_path: Path) -> None:
    with Scheduler(tmp_path / "k.db", registry=registry) as scheduler:
        heard = scheduler.subscribe(kinds=["events_created", "event_paused", "event_deleted"])
        event = scheduler.schedule_event("work", FAR, author="ada")
        scheduler.pause_event(event.id, note="disk swap", author="bob")
        scheduler.delete_event(event.id)
        found = [heard.get(30) for _ in range(3)]
        created, paused, deleted = (notice for notice in found if notice is not None)
        assert created.details["author"] == "ada"
        assert (paused.kind, paused.event_id) == ("event_paused", event.id)
        assert paused.details["note"] == "disk swap"
        assert deleted.kind == "event_deleted"
        entry = scheduler.list_journal(kind="event_paused").items[0]
        assert (entry.at, entry.event_id) == (paused.at, paused.event_id)


def test_what_another_scheduler_does_is_not_told(registry: Registry, tmp_path: Path) -> None:
    with (
        Scheduler(tmp_path / "k.db", registry=registry, enabled=False) as mine,
        Scheduler(tmp_path / "k.db", registry=registry) as other,
    ):
        heard = mine.subscribe(kinds="events_created")
        other.schedule_event("work", FAR, name="other")
        mine.schedule_event("work", FAR, name="mine")
        notice = heard.get(30)
        assert notice is not None
        assert notice.event_id == mine.list_events(name="mine").items[0].id
        assert len(heard) == 0


def test_a_subscription_goes_from_before_the_start_to_the_end(registry: Registry) -> None:
    scheduler = Scheduler(":memory:", registry=registry)
    heard = scheduler.subscribe(kinds=["scheduler_started", "scheduler_stopped"])
    with scheduler:
        pass
    assert kinds(list(heard)) == ["scheduler_started", "scheduler_stopped"]
    assert heard.closed


def test_a_crashing_actor_is_told_of(registry: Registry, until: Callable[..., Any]) -> None:
    with Scheduler(":memory:", registry=registry, restart_backoff=0.01) as scheduler:
        heard = scheduler.subscribe(kinds=["actor_crashed", "actor_restarted"])
        assert scheduler._system is not None
        scheduler._system.event_manager.tell_urgent(Crash(RuntimeError("a bug")))
        crashed = heard.get(30)
        assert crashed is not None
        assert (crashed.kind, crashed.details["actor"]) == ("actor_crashed", "event_manager")
        restarted = heard.get(30)
        assert restarted is not None
        assert restarted.kind == "actor_restarted"


def test_a_callback_hears_while_the_scheduler_goes_on(registry: Registry) -> None:
    held, heard = threading.Event(), list[str]()

    def callback(notice: Notice) -> None:
        held.wait(30)
        heard.append(notice.kind)

    with Scheduler(":memory:", registry=registry) as scheduler:
        subscription = scheduler.subscribe(callback, "execution_ended", limit=2)
        watch = scheduler.subscribe(kinds="execution_ended")
        event = scheduler.schedule_event("work", FAR, overlap="allow_all")
        for _ in range(10):
            scheduler.trigger_now(event.id)
        for _ in range(10):
            assert watch.get(30) is not None
        assert subscription.dropped >= 7
        held.set()


def test_notices_are_iterated_under_asyncio(registry: Registry) -> None:
    async def main() -> list[str]:
        async with Scheduler(":memory:", registry=registry) as scheduler:
            event = await scheduler.events.create("work", FAR)
            heard = scheduler.subscribe(kinds="execution_ended")
            await scheduler.loop.trigger_now(event.id)
            found = [(await asyncio.wait_for(anext(heard), 30)).kind]
            rest = asyncio.create_task(collect(heard))
        return found + await asyncio.wait_for(rest, 30)

    async def collect(heard: Any) -> list[str]:
        return [notice.kind async for notice in heard]

    assert asyncio.run(main()) == ["execution_ended"]


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"kinds": ["execution_endet"]}, "kinds"),
        ({"kinds": 5}, "kinds"),
        ({"kinds": [5]}, "kinds[0]"),
        ({"limit": 0}, "limit"),
        ({"limit": "9"}, "limit"),
        ({"callback": 5}, "callback"),
        ({"kind": "execution_ended"}, "kind"),
        ({"callback": later}, "callback"),
    ],
)
def test_a_wrong_argument_is_refused(
    registry: Registry, arguments: dict[str, Any], path: str
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        Scheduler(":memory:", registry=registry).subscribe(**arguments)
    assert caught.value.details["path"] == path
