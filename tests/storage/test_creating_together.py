"""Calls that are carried out together end as if they had come one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kalends.clock import US, from_us
from kalends.drafts import Definition, OnConflict
from kalends.errors import ConflictError, KalendsError, ValidationFailed
from kalends.messages import CreateEvents
from kalends.model import Event
from kalends.policies import Policies
from kalends.storage.models import EventRow, JournalRow, TagRow
from kalends.triggers import Trigger, every

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

HOURLY = every(hours=1)
PAST = HOURLY.between(from_us(0), from_us(86_400 * US))
"""A rule that has no instant after now."""
Made = tuple[tuple[Event, ...] | None, Exception | None]


def define(name: str | None, trigger: Trigger = HOURLY, **fields: Any) -> Definition:
    given: dict[str, Any] = {"arguments": '{"args":[],"kwargs":{}}', "policies": Policies()}
    return Definition(name=name, job="job", trigger=trigger, **{**given, **fields})


def call(*names: str | None, conflict: str = "error", **more: Any) -> CreateEvents:
    definitions = tuple(define(name) for name in names)
    return CreateEvents(definitions, OnConflict(conflict), **more)


def create_each(ledger: Ledger, *calls: CreateEvents) -> Sequence[Made]:
    return ledger.run(ledger.here.events.create_each, calls, now=ledger.now)


def stored(ledger: Ledger) -> list[str]:
    query = EventRow.select(EventRow.name).order_by(EventRow.name)
    return [name for (name,) in ledger.rows(query)]


def test_of_two_who_want_one_name_the_first_has_it_and_the_others_are_stored(
    ledger: Ledger,
) -> None:
    first, second, third = create_each(ledger, call("a"), call("a"), call("b"))
    assert first[0] is not None
    assert third[0] is not None
    assert isinstance(second[1], ConflictError)
    assert second[1].details["event_id"] == first[0][0].id
    assert "an event named 'a' exists" in second[1].message
    assert third[0][0].name == "b"
    assert stored(ledger) == ["a", "b"]


def test_a_call_that_is_refused_leaves_nothing_and_its_names_to_the_next(ledger: Ledger) -> None:
    ledger.create(define("taken"))
    refused, twice, made = create_each(
        ledger, call("x", "taken"), call("x", "y", "y"), call("x", "y")
    )
    assert isinstance(refused[1], ConflictError)
    assert isinstance(twice[1], ConflictError)
    assert twice[1].details["path"] == "[2].name"
    assert made[0] is not None
    assert [event.name for event in made[0]] == ["x", "y"]
    assert stored(ledger) == ["taken", "x", "y"]
    lines = ledger.rows(JournalRow.select(JournalRow.kind))
    assert lines == [("events_created",)] * 2


def test_a_rule_that_cannot_be_stored_refuses_its_own_call_alone(ledger: Ledger) -> None:
    bad = CreateEvents((define("a"), define("b", PAST, tags=("t",))))
    refused, made = create_each(ledger, bad, call("a"))
    assert isinstance(refused[1], ValidationFailed)
    assert refused[1].details["path"] == "[1].trigger"
    assert made[1] is None
    assert stored(ledger) == ["a"]
    assert ledger.rows(TagRow.select(TagRow.tag)) == []


def test_who_keeps_what_is_there_is_answered_with_what_came_just_before(ledger: Ledger) -> None:
    first, kept = create_each(
        ledger, call("a", author="one"), call("a", "b", conflict="keep", author="two")
    )
    assert first[0] is not None
    assert kept[0] is not None
    assert kept[0][0] == first[0][0]
    assert kept[0][1].name == "b"
    query = JournalRow.select(JournalRow.author, JournalRow.event_id).order_by(JournalRow.id)
    assert ledger.rows(query) == [("one", first[0][0].id), ("two", kept[0][1].id)]


def test_answers_are_what_is_read_back_also_of_many_calls(ledger: Ledger) -> None:
    calls = [call("a"), call(None, None), CreateEvents((define("b", every(minutes=60)),))]
    made = [event for events, _ in create_each(ledger, *calls) for event in events or ()]
    assert made == [ledger.event(event.id) for event in made]
    assert [event.id for event in made] == sorted(event.id for event in made)


@pytest.mark.on_sqlite
def test_many_calls_take_as_many_statements_as_one(ledger: Ledger) -> None:
    seen: list[str] = []

    def trace(_cursor: apsw.Cursor, sql: str, _values: Any) -> bool:
        seen.append(sql)
        return True

    def count(*calls: CreateEvents) -> int:
        seen.clear()
        ledger.db.connection().exec_trace = trace
        create_each(ledger, *calls)
        ledger.db.connection().exec_trace = None
        return len(seen)

    alone = count(call("first"))
    assert count(*(call(f"name {number}") for number in range(32))) == alone


CALLS = st.lists(
    st.builds(
        lambda names, conflict: call(*names, conflict=conflict),
        st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=1, max_size=3),
        st.sampled_from(["error", "keep"]),
    ),
    min_size=1,
    max_size=5,
)


def told(made: Made) -> Any:
    """What does not depend on ids."""
    events, refusal = made
    if refusal is not None:
        assert isinstance(refusal, KalendsError)
        return refusal.code, refusal.message, refusal.details.get("path")
    return [event.name if len(event.name) == 1 else None for event in events or ()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_together_and_one_after_the_other_come_to_the_same(
    make_ledger: Callable[[], Ledger], calls: list[CreateEvents]
) -> None:
    together = make_ledger()
    answers = [told(made) for made in create_each(together, *calls)]
    rows = [len(name) == 1 and name for name in stored(together)]
    lines = ledger_lines(together)
    apart = make_ledger()
    assert [told(create_each(apart, one)[0]) for one in calls] == answers
    assert [len(name) == 1 and name for name in stored(apart)] == rows
    assert ledger_lines(apart) == lines
    apart.check_accounts()


def ledger_lines(ledger: Ledger) -> list[Any]:
    query = JournalRow.select(JournalRow.kind, JournalRow.details).order_by(JournalRow.id)
    return [(kind, details.split(",")[0]) for kind, details in ledger.rows(query)]
