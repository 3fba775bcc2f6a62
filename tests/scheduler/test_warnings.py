"""Whoever makes an event is told what daylight saving will do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pendulum

from kalends import Event, cron, every

if TYPE_CHECKING:
    from tests.conftest import Virtual

NIGHT = cron("30 2 * * *", tz="Europe/Oslo")
WORDS = [
    "On 2027-03-28 the clock of Europe/Oslo skips 02:00 to 03:00: the time due in it (02:30) "
    "runs once, at 03:00.",
    "On 2027-10-31 the clock of Europe/Oslo repeats 02:00 to 03:00: the time due in it (02:30) "
    "runs the first time only.",
]


def words(event: Event) -> list[str]:
    return [met.words for met in event.warnings]


def test_an_event_is_made_with_its_warnings_and_read_without(virtual: Virtual) -> None:
    event = virtual.scheduler.schedule_event("tick", NIGHT)
    assert words(event) == WORDS
    assert [met.at for met in event.warnings] == [
        pendulum.datetime(2027, 3, 28, 1), pendulum.datetime(2027, 10, 31, 1),
    ]  # fmt: skip
    assert virtual.scheduler.get_event(event.id).warnings == ()
    assert virtual.scheduler.list_events().items[0].warnings == ()
    assert virtual.scheduler.pause_event(event.id).warnings == ()
    assert virtual.scheduler.schedule_event("tick", every(hours=1)).warnings == ()


def test_a_new_trigger_is_warned_of_and_other_changes_are_not(virtual: Virtual) -> None:
    event = virtual.scheduler.schedule_event("tick", every(hours=1))
    assert words(virtual.scheduler.update_event(event.id, trigger=NIGHT)) == WORDS
    assert virtual.scheduler.update_event(event.id, note="for the night").warnings == ()
    assert virtual.scheduler.update_event(event.id, trigger=every(hours=2)).warnings == ()


def test_each_event_of_many_has_its_own_warnings(virtual: Virtual) -> None:
    events = virtual.scheduler.schedule_events(
        [
            {"job": "tick", "trigger": NIGHT},
            {"job": "tick", "trigger": every(hours=1)},
            {"job": "tick", "trigger": cron("30 2 * * *", tz="Europe/Oslo", gap="skip")},
        ]
    )
    assert [len(event.warnings) for event in events] == [2, 0, 2]
    assert words(events[0]) == WORDS
    assert words(events[2])[0].endswith("(02:30) does not run.")


def test_a_replaced_event_is_warned_of_and_a_kept_one_is_not(virtual: Virtual) -> None:
    schedule = virtual.scheduler.schedule_event
    schedule("tick", every(hours=1), name="nightly")
    assert schedule("tick", NIGHT, name="nightly", on_conflict="keep").warnings == ()
    assert words(schedule("tick", NIGHT, name="nightly", on_conflict="replace")) == WORDS
    assert words(schedule("tick", NIGHT, name="nightly", on_conflict="replace")) == WORDS


def test_warnings_are_logged_once_a_call(virtual: Virtual, logged: list[dict[str, Any]]) -> None:
    events = virtual.scheduler.schedule_events(
        [{"job": "tick", "trigger": rule} for rule in (every(hours=1), NIGHT, NIGHT)]
    )
    virtual.scheduler.update_event(events[0].id, trigger=NIGHT)
    virtual.scheduler.update_event(events[0].id, note="no change of the rule")
    told = [entry for entry in logged if entry["event"] == "clock_changes_ahead"]
    assert [(entry["events"], entry["event_id"]) for entry in told] == [
        (2, events[1].id), (1, events[0].id),
    ]  # fmt: skip
    assert told[0]["event_name"] == events[1].name
    assert told[0]["changes"] == WORDS
