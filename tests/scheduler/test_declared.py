"""Declared schedules: what a start makes of the stored events, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pendulum
import pytest

from kalends import (
    ConflictError,
    DeclaredAction,
    Event,
    EventStatus,
    Reconciliation,
    Registry,
    ValidationFailed,
    every,
    once,
)  # fmt: skip
from kalends.testing import VirtualScheduler

START = pendulum.datetime(2027, 1, 1, tz="UTC")
A = DeclaredAction
RULE = every(minutes=10, anchor=START)
LONG = every(hours=5, anchor=START)


def work() -> None: ...


def code(**declared: dict[str, Any]) -> Registry:
    """The registry of an application whose code declares these events."""
    registry = Registry()
    registry.register(work, "work")
    for name, fields in declared.items():
        registry.scheduled(fields.pop("trigger", RULE), name=name, **fields)(work)
    return registry


class World:
    """One database, and the applications that come and go on it."""

    def __init__(self) -> None:
        self.first = VirtualScheduler(registry=code(), start=START)
        self.first.start()
        self._others: list[VirtualScheduler] = []

    def deploy(self, registry: Registry, **settings: Any) -> VirtualScheduler:
        """Start an application; those before it stop."""
        self.stop()
        self.first.advance(0.01)  # ids of different processes sort by their time
        self._others.append(self.first.peer(registry=registry, **settings).start())
        return self._others[-1]

    def stop(self) -> None:
        for scheduler in self._others:
            scheduler.shutdown()

    def event(self, name: str) -> Event:
        (found,) = self.first.list_events(name=name).items
        return found

    def journal(self, name: str) -> list[Any]:
        return list(self.first.list_journal(event_id=self.event(name).id).items)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.stop()
    made.first.shutdown()


def actions(found: Reconciliation) -> dict[str, str]:
    return {event.name: event.action.value for event in found.events}


def test_what_is_declared_is_created_before_anything_runs(world: World) -> None:
    scheduler = world.deploy(code(tick={"tags": ["a"], "timeout": 5, "note": "from code"}))
    event = world.event("tick")
    assert (event.declared_by, event.job, event.tags) == ("default", "work", ("a",))
    assert (event.policies.timeout, event.note, event.version) == (5.0, "from code", 1)
    (entry,) = world.journal("tick")
    assert (entry.author, entry.note) == ("kalends", "declared by 'default'")
    scheduler.advance(600)
    assert [each.fate for each in scheduler.list_executions().items] == ["succeeded"]
    assert actions(scheduler.reconcile()) == {"tick": "kept"}


def test_what_was_changed_in_the_code_is_updated_and_keeps_its_account(world: World) -> None:
    world.deploy(code(tick={"timeout": 5}))
    world.first.advance(1200)
    before = world.event("tick")
    world.deploy(code(tick={"timeout": 6, "trigger": every(minutes=20, anchor=START)}))
    after = world.event("tick")
    assert (after.id, after.accounted_from) == (before.id, before.accounted_from)
    assert (after.policies.timeout, after.trigger) == (6.0, every(minutes=20, anchor=START))
    entry = world.journal("tick")[0]
    assert (entry.kind, entry.author, entry.note) == (
        "event_updated", "kalends", "declared by 'default'",
    )  # fmt: skip
    assert entry.details["before"]["policies"]["timeout"] == 5.0
    assert entry.details["after"]["policies"]["timeout"] == 6.0
    assert world.first.verify().ok


def test_the_code_wins_over_a_change_by_hand_at_the_next_start(world: World) -> None:
    registry = code(tick={"timeout": 5})
    scheduler = world.deploy(registry)
    scheduler.update_event(world.event("tick").id, timeout=60, author="ada")
    (told,) = scheduler.reconcile(dry_run=True).events
    assert (told.action, told.changed) == (A.UPDATED, ("policies",))
    assert (told.before, told.after) == ({"policies": {"timeout": 60.0}},
                                         {"policies": {"timeout": 5.0}})  # fmt: skip
    assert world.event("tick").policies.timeout == 60.0
    world.deploy(registry)
    assert world.event("tick").policies.timeout == 5.0
    assert [entry.author for entry in world.journal("tick")] == ["kalends", "ada", "kalends"]


def test_what_vanished_from_the_code_is_paused_and_what_returns_is_resumed(world: World) -> None:
    world.deploy(code(tick={}, tock={}))
    scheduler = world.deploy(code(tock={}))
    gone = world.event("tick")
    assert (gone.status, gone.note) == (EventStatus.PAUSED, "no longer declared by 'default'")
    assert world.event("tock").status is EventStatus.ACTIVE
    assert actions(scheduler.reconcile()) == {"tick": "absent", "tock": "kept"}
    assert (world.journal("tick")[0].kind, world.journal("tick")[0].author) == (
        "event_paused", "kalends",
    )  # fmt: skip
    scheduler.advance(1500)
    world.deploy(code(tick={"timeout": 5}, tock={}))
    back = world.event("tick")
    assert (back.id, back.status) == (gone.id, EventStatus.ACTIVE)
    assert back.policies.timeout == 5.0
    found = world.first.explain(back.id, START.add(minutes=20))
    assert (found.reason, "no longer declared by 'default'" in str(found)) == ("paused", True)
    assert world.first.verify().ok


def test_the_last_declared_event_is_paused_like_any_other(world: World) -> None:
    world.deploy(code(tick={}))
    world.deploy(code())
    assert world.event("tick").status is EventStatus.PAUSED


def test_a_pause_by_hand_survives(world: World) -> None:
    scheduler = world.deploy(code(tick={}))
    scheduler.pause_event(world.event("tick").id, note="disk swap", author="ada")
    scheduler = world.deploy(code(tick={"timeout": 5}))
    (told,) = scheduler.reconcile().events
    assert (told.action, told.status) == (A.KEPT, EventStatus.PAUSED)
    event = world.event("tick")
    assert (event.status, event.note) == (EventStatus.PAUSED, "disk swap")
    assert event.policies.timeout == 5.0
    world.deploy(code())
    assert world.event("tick").note == "disk swap"
    world.deploy(code(tick={"timeout": 5}))
    assert world.event("tick").status is EventStatus.PAUSED


def test_a_pause_by_hand_survives_whatever_its_note_says(world: World) -> None:
    scheduler = world.deploy(code(tick={}))
    note = "no longer declared by 'default'"
    scheduler.pause_event(world.event("tick").id, note=note, author="ada")
    assert actions(world.deploy(code(tick={})).reconcile()) == {"tick": "kept"}
    assert world.event("tick").status is EventStatus.PAUSED


def test_a_pause_by_hand_of_what_had_vanished_is_not_lifted_by_its_return(world: World) -> None:
    world.deploy(code(tick={}))
    scheduler = world.deploy(code())
    scheduler.pause_event(world.event("tick").id, note="and it stays so")
    world.deploy(code(tick={}))
    assert world.event("tick").status is EventStatus.PAUSED


def test_a_pause_that_ends_by_itself_does_not_bring_back_what_vanished(world: World) -> None:
    scheduler = world.deploy(code(tick={}))
    scheduler.pause_event(world.event("tick").id, until=START.add(hours=1))
    scheduler = world.deploy(code())
    scheduler.advance(7200)
    assert world.event("tick").status is EventStatus.PAUSED
    assert world.event("tick").paused_until is None


def test_events_of_other_applications_and_made_by_hand_are_left_alone(world: World) -> None:
    world.deploy(code(theirs={}), application="billing")
    mine = world.deploy(code(ours={}), application="reports")
    mine.schedule_event("work", RULE, name="by-hand")
    found = mine.reconcile()
    assert (found.application, actions(found)) == ("reports", {"ours": "kept"})
    world.deploy(code(), application="reports")
    names = [event.name for event in world.first.list_events(declared_by="billing").items]
    assert names == ["theirs"]
    assert {event.name: event.status for event in world.first.list_events().items} == {
        "theirs": "active", "ours": "paused", "by-hand": "active",
    }  # fmt: skip


@pytest.mark.parametrize("owner", [None, "billing"])
def test_a_name_that_is_taken_is_told_of_and_the_others_go_on(
    world: World, owner: str | None, logged: list[dict[str, Any]]
) -> None:
    if owner is None:
        world.first.schedule_event("work", LONG, name="taken")
    else:
        world.deploy(code(taken={"trigger": LONG}), application=owner)
    logged.clear()
    scheduler = world.deploy(code(taken={}, free={}))
    found = scheduler.reconcile()
    assert actions(found) == {"free": "kept", "taken": "refused"}
    (refused,) = found.refused
    assert (refused.code, refused.event_id) == (ConflictError.code, world.event("taken").id)
    assert "adopt=True" in str(refused.message)
    refused_in_log = [entry for entry in logged if entry["event"] == "declared_event_refused"]
    assert [entry["event_name"] for entry in refused_in_log] == ["taken"] * 2  # start, reconcile
    logged.clear()
    scheduler = world.deploy(code(taken={}, free={}))  # nothing is left to do, and it is told of
    assert [entry["code"] for entry in logged if "refused" in entry["event"]] == ["CONFLICT"]
    assert world.event("taken").trigger == LONG
    assert actions(scheduler.reconcile(adopt=True)) == {"free": "kept", "taken": "updated"}
    event = world.event("taken")
    assert (event.declared_by, event.trigger) == ("default", RULE)


def test_a_dry_run_changes_nothing_and_says_what_a_start_would_do(world: World) -> None:
    world.deploy(code(kept={}, changed={}, gone={}, back={}))
    world.deploy(code(kept={}, changed={}, gone={}))
    world.stop()
    fresh = code(
        kept={}, changed={"timeout": 5}, back={}, new={}, void={"trigger": every(minutes=1).between(
            START.subtract(hours=2), START.subtract(hours=1)
        )},
    )  # fmt: skip
    client = world.first.peer(registry=fresh, enabled=False)
    with client:
        before = client.dump()
        told = client.reconcile(dry_run=True)
        assert client.dump() == before
        assert told.dry_run
        assert actions(told) == {
            "back": "resumed", "changed": "updated", "gone": "paused", "kept": "kept",
            "new": "created", "void": "refused",
        }  # fmt: skip
        assert next(event for event in told.events if event.name == "new").event_id is None
        assert [(event.name, event.status.value) for event in told.changes] == [
            ("back", "active"), ("changed", "active"), ("gone", "paused"), ("new", "active"),
        ]  # fmt: skip
        (void,) = told.refused
        assert void.code == ValidationFailed.code
        done = client.reconcile()
        assert (actions(done), done.dry_run) == (actions(told), False)
        assert client.reconcile().changes == ()


def test_a_process_that_runs_nothing_reconciles_only_when_asked(world: World) -> None:
    with world.first.peer(registry=code(tick={}), enabled=False) as client:
        assert client.count_events() == 0
        assert actions(client.reconcile()) == {"tick": "created"}


def test_a_setting_keeps_a_start_from_reconciling(world: World) -> None:
    scheduler = world.deploy(code(tick={}), reconcile_at_start=False)
    assert scheduler.count_events() == 0


def test_a_declaration_that_is_wrong_keeps_the_scheduler_from_starting() -> None:
    for fields, path in (
        ({"timeout": -1}, "timeout"),
        ({"concurrency_limit": "none"}, "concurrency_limit"),
        ({"tmeout": 1}, "scheduled.tmeout"),
        ({"kwargs": {"x": 1}}, "kwargs.x"),
    ):
        scheduler = VirtualScheduler(registry=code(fine={}, wrong=fields))
        with pytest.raises(ValidationFailed, match="'wrong' is declared wrong") as caught:
            scheduler.start()
        assert caught.value.details["path"] == path
        assert not scheduler.alive


def test_a_declared_event_is_renamed_in_the_code_alone(world: World) -> None:
    scheduler = world.deploy(code(tick={}))
    with pytest.raises(ValidationFailed, match="rename it there") as caught:
        scheduler.update_event(world.event("tick").id, name="tock")
    assert caught.value.details["path"] == "name"


def test_what_was_deleted_by_hand_is_made_anew(world: World) -> None:
    scheduler = world.deploy(code(tick={}))
    old = world.event("tick")
    scheduler.delete_event(old.id)
    world.deploy(code(tick={}))
    assert world.event("tick").id != old.id


def test_a_change_at_run_time_reaches_what_is_armed(world: World) -> None:
    registry = code(tick={"trigger": once(START.add(seconds=60))})
    scheduler = world.deploy(registry, claim_ahead=30.0)
    scheduler.advance(45)
    assert [each.fate for each in scheduler.list_executions().items] == ["pending"]
    later = code(tick={"trigger": once(START.add(seconds=90))})
    scheduler.registry._declarations._by_name.update(
        {each.name: each for each in later.declarations()}
    )
    assert actions(scheduler.reconcile()) == {"tick": "updated"}
    scheduler.advance(30)
    assert scheduler.list_executions(fate="succeeded").items == ()
    scheduler.advance(30)
    (ran,) = scheduler.list_executions(fate="succeeded").items
    assert ran.due == START.add(seconds=90)


def test_a_start_says_in_the_log_what_it_changed(
    world: World, logged: list[dict[str, Any]]
) -> None:
    world.deploy(code(tick={}))
    world.deploy(code(tock={}))
    world.deploy(code(tock={}))
    told = [entry for entry in logged if entry["event"] == "schedules_reconciled"]
    assert [(entry["created"], entry["paused"]) for entry in told] == [
        (["tick"], []), (["tock"], ["tick"]),
    ]  # fmt: skip
