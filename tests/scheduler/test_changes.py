"""Definitions that change while armed, and events that cannot be carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw
import pendulum
import pytest

from kalends import (
    ConflictError,
    EventNotFound,
    EventStatus,
    Result,
    TransitionError,
    VersionConflict,
    cron,
    every,
    once,
)
from kalends.testing import ManualClock

START = pendulum.datetime(2027, 1, 1, tz="UTC")
ARMED = 9.9
"""Seconds after which an instant at 10 is claimed ahead of time, and not due."""


@pytest.fixture
def armed(virtual: Any) -> Any:
    """An event whose next instant is claimed and has not come."""
    virtual.event = virtual.scheduler.schedule_event(
        "tick", every(seconds=10, anchor=START), name="t"
    )
    virtual.advance(ARMED)
    assert virtual.scheduler.count_executions(event_id=virtual.event.id, fate="pending") == 1
    return virtual


def test_a_paused_event_does_not_fire_though_it_was_armed(armed: Any) -> None:
    paused = armed.scheduler.pause_event(armed.event.id, note="disk swap", author="ola")
    assert (paused.status, paused.note) == (EventStatus.PAUSED, "disk swap")
    armed.advance(35)
    assert armed.ran == []
    armed.scheduler.resume_event(armed.event.id)
    armed.advance(10)
    assert armed.fates(armed.event) == {
        10: "paused", 20: "paused", 30: "paused", 40: "paused", 50: "succeeded",
    }  # fmt: skip
    (entry,) = armed.journal("event_paused")
    assert (entry.author, entry.note, entry.event_id) == ("ola", "disk swap", armed.event.id)


def test_an_update_while_armed_runs_the_new_definition_only(armed: Any) -> None:
    event = armed.scheduler.update_event(
        armed.event.id, trigger=every(seconds=7, anchor=START), version=armed.event.version
    )
    assert event.version == armed.event.version + 1
    armed.advance(5)
    assert armed.ran == [("t", START.add(seconds=14))]


def test_an_update_of_the_job_while_armed_runs_the_new_job_at_the_old_instant(armed: Any) -> None:
    armed.scheduler.update_event(armed.event.id, job="boom")
    armed.advance(0.1)
    assert armed.ran == []
    (execution,) = armed.executions(armed.event)
    assert (execution.fate, execution.error.type) == ("failed", "RuntimeError")


def test_a_refused_update_while_armed_changes_nothing(armed: Any) -> None:
    armed.scheduler.schedule_event("tick", once(START.add(years=1)), name="taken")
    with pytest.raises(ConflictError):
        armed.scheduler.update_event(armed.event.id, name="taken")
    with pytest.raises(VersionConflict) as caught:
        armed.scheduler.update_event(armed.event.id, note="x", version=99)
    assert caught.value.details == {"expected": 99, "actual": 1}
    armed.advance(0.1)
    assert armed.ran == [("t", START.add(seconds=10))]


def test_a_deleted_event_does_not_fire_and_keeps_its_history(armed: Any) -> None:
    armed.advance(0.2)
    armed.advance(9.8)
    armed.scheduler.delete_event(armed.event.id, author="ola")
    armed.advance(100)
    assert armed.ran == [("t", START.add(seconds=10))]
    with pytest.raises(EventNotFound):
        armed.scheduler.get_event(armed.event.id)
    tombstone = armed.scheduler.get_event(armed.event.id, deleted=True)
    assert tombstone.status is EventStatus.DELETED
    assert len(armed.executions(armed.event)) == 1
    assert armed.scheduler.schedule_event("tick", once(START.add(years=1)), name="t")


def test_a_running_execution_of_a_deleted_event_ends_as_it_would(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("hold", once(START.add(seconds=1)))
    virtual.clock.advance(1)
    assert virtual.held.acquire(timeout=10)
    virtual.scheduler.delete_event(event.id)
    virtual.let_go.set()
    (execution,) = virtual.executions(event)
    assert virtual.ended(execution.id).fate == "succeeded"


def test_trigger_now_runs_once_outside_of_the_rule(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="t")
    virtual.advance(5)
    execution = virtual.scheduler.trigger_now(event.id)
    assert virtual.ended(execution.id).manual
    assert virtual.ran == [("t", START.add(seconds=5))]
    virtual.advance(5)
    assert virtual.fates(event) == {10: "succeeded"}


def test_trigger_now_runs_a_paused_event_too(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="t")
    virtual.advance(5)
    virtual.scheduler.pause_event(event.id)
    assert virtual.ended(virtual.scheduler.trigger_now(event.id).id).fate == "succeeded"
    assert virtual.scheduler.get_event(event.id).status is EventStatus.PAUSED


def test_status_changes_follow_the_table(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10))
    with pytest.raises(TransitionError) as caught:
        virtual.scheduler.resume_event(event.id)
    assert caught.value.details == {"verb": "resume", "status": "active"}
    virtual.scheduler.pause_event(event.id)
    with pytest.raises(TransitionError):
        virtual.scheduler.release_event(event.id)
    virtual.scheduler.delete_event(event.id)
    with pytest.raises(EventNotFound):
        virtual.scheduler.pause_event(event.id)


def test_an_event_that_replaces_itself_unchanged_keeps_its_account(armed: Any) -> None:
    again = armed.scheduler.schedule_event(
        "tick", every(seconds=10, anchor=START), name="t", on_conflict="replace"
    )
    assert (again.id, again.version) == (armed.event.id, armed.event.version)
    armed.advance(0.1)
    assert armed.ran == [("t", START.add(seconds=10))]
    assert armed.fates(armed.event) == {10: "succeeded"}


def test_an_event_that_is_replaced_by_another_rule_follows_that_one(armed: Any) -> None:
    again = armed.scheduler.schedule_event(
        "tick", cron("* * * * *"), name="t", on_conflict="replace"
    )
    assert again.id == armed.event.id
    armed.advance(0.1)
    armed.advance(50)
    assert armed.ran == [("t", START.add(seconds=60))]


def sabotage(virtual: Any, sql: str) -> None:
    """Change a row behind the scheduler's back, as an older or damaged version could have."""
    connection = apsw.Connection(str(virtual.path))
    connection.set_busy_timeout(5000)
    connection.execute(sql).fetchall()
    connection.close()


@pytest.fixture
def quarantined(virtual: Any) -> Any:
    """An event whose job's name was never registered, and a healthy one beside it."""
    virtual.event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START))
    virtual.other = virtual.scheduler.schedule_event(
        "tick", every(seconds=10, anchor=START), name="other"
    )
    sabotage(virtual, f"UPDATE events SET job = 'gone' WHERE id = '{virtual.event.id}'")
    virtual.advance(10)
    virtual.settle()
    return virtual


def test_an_event_with_an_unknown_job_is_quarantined_and_the_others_go_on(quarantined: Any) -> None:
    event = quarantined.scheduler.get_event(quarantined.event.id)
    assert event.status is EventStatus.QUARANTINED
    quarantined.advance(10)
    assert quarantined.ran == [
        ("other", START.add(seconds=10)),
        ("other", START.add(seconds=20)),
    ]
    (entry,) = quarantined.journal("event_quarantined")
    assert entry.event_id == event.id
    assert "'gone'" in entry.details["error"]
    assert quarantined.scheduler.status().state == "running"
    assert [actor.restarts for actor in quarantined.scheduler.status().actors] == [0, 0, 0, 0]


def test_a_quarantined_event_that_is_mended_and_released_runs_again(quarantined: Any) -> None:
    quarantined.advance(20)
    quarantined.registry.register(quarantined._tick, "gone")
    event = quarantined.scheduler.release_event(quarantined.event.id, author="ola")
    assert event.status is EventStatus.ACTIVE
    quarantined.advance(10)
    assert quarantined.fates(event) == {
        10: "quarantined", 20: "quarantined", 30: "quarantined", 40: "succeeded",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("trigger", "{}"),
        ("trigger", "not even JSON"),
        ("trigger", '{"v":1,"type":"os.system"}'),
        ("policies", "[1]"),
        ("arguments", '{"args": 5}'),
        ("arguments", "]"),
    ],
)
def test_a_row_that_cannot_be_read_is_quarantined_and_the_others_go_on(
    virtual: Any, column: str, value: str
) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="bad")
    virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="good")
    sabotage(virtual, f"UPDATE events SET {column} = '{value}' WHERE id = '{event.id}'")
    virtual.advance(10)
    virtual.advance(10)
    assert [name for name, _ in virtual.ran] == ["good", "good"]
    (entry,) = virtual.journal("event_quarantined")
    assert entry.event_id == event.id
    assert [actor.restarts for actor in virtual.scheduler.status().actors] == [0, 0, 0, 0]


def test_reading_an_unreadable_event_does_not_crash_an_actor(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="bad")
    sabotage(virtual, f"UPDATE events SET arguments = ']' WHERE id = '{event.id}'")
    asks: tuple[Callable[[], Any], ...] = (
        lambda: virtual.scheduler.get_event(event.id),
        virtual.scheduler.list_events,
        lambda: virtual.scheduler.preview(event.id),
        lambda: virtual.scheduler.pause_event(event.id),
        lambda: virtual.scheduler.delete_event(event.id),
    )
    for ask in asks:
        assert Result.capture(ask).code != "ACTOR_CRASHED"
    assert [actor.restarts for actor in virtual.scheduler.status().actors] == [0, 0, 0, 0]


def test_a_preview_claims_nothing(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", cron("0 6 * * *"))
    instants = virtual.scheduler.preview(event.id, 3)
    assert instants == tuple(START.add(days=n, hours=6) for n in range(3))
    assert virtual.scheduler.count_executions() == 0


def test_bulk_creation_is_one_commit_and_all_of_them_are_there(virtual: Any) -> None:
    virtual.scheduler.keep_house()  # the first round, or a second one: both are over then
    before = virtual.scheduler.status().commits
    events = virtual.scheduler.schedule_events(
        [{"job": "tick", "trigger": once(START.add(years=1)), "name": f"n{n}"} for n in range(500)]
    )
    assert len(events) == 500
    assert virtual.scheduler.status().commits == before + 1
    assert virtual.scheduler.count_events(name="n*") == 500


def test_lists_filter_sort_and_page(virtual: Any, clock: ManualClock) -> None:
    for n in range(7):
        virtual.scheduler.schedule_event(
            "tick" if n % 2 else "boom",
            once(START.add(days=7 - n)),
            name=f"event-{n}",
            tags=["odd"] if n % 2 else ["even", "all"],
        )
    lists = virtual.scheduler.list_events
    assert [event.name for event in lists(tag="odd").items] == ["event-1", "event-3", "event-5"]
    assert [event.name for event in lists(job="boom", limit=2).items] == ["event-0", "event-2"]
    assert [event.name for event in lists(sort="next_due", limit=2).items] == [
        "event-6", "event-5",
    ]  # fmt: skip
    assert [event.name for event in lists(due_until=START.add(days=2)).items] == ["event-6"]
    assert virtual.scheduler.count_events(name="event-?", status="active") == 7
    seen, cursor = [], None
    while True:
        page = lists(sort="name", descending=True, limit=3, cursor=cursor)
        seen += [event.name for event in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [f"event-{n}" for n in range(6, -1, -1)]


def test_policies_come_from_the_settings_where_the_event_does_not_say(
    make_virtual: Callable[..., Any],
) -> None:
    virtual = make_virtual(policies={"catch_up": "all", "max_attempts": 9}).start()
    event = virtual.scheduler.schedule_event("tick", every(seconds=10), max_attempts=2)
    assert (event.policies.catch_up, event.policies.max_attempts) == ("all", 2)
    event = virtual.scheduler.update_event(event.id, overlap="allow_all")
    assert (event.policies.catch_up, event.policies.overlap) == ("all", "allow_all")


def test_a_pause_does_not_cost_an_event_its_own_note(virtual: Any) -> None:
    scheduler = virtual.scheduler
    event = scheduler.schedule_event("tick", every(seconds=10), note="runbook 7")
    assert scheduler.pause_event(event.id).note == "runbook 7"
    assert scheduler.resume_event(event.id, note="all clear").note == "all clear"
    assert scheduler.pause_event(event.id, note="disk swap").note == "disk swap"
    assert scheduler.resume_event(event.id).note == "runbook 7"
