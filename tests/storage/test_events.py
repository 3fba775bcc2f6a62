"""Events: stored all or none, names that collide, and what a list shows of a damaged row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kalends.clock import US, from_us, to_us
from kalends.drafts import Definition
from kalends.errors import ConflictError, EventNotFound, ValidationFailed
from kalends.ids import short_form
from kalends.model import EventStatus, JournalKind
from kalends.policies import Policies
from kalends.queries import EventQuery, JournalQuery
from kalends.storage.event_queries import count_events, list_events
from kalends.storage.journal import list_entries
from kalends.storage.models import EventRow, TagRow
from kalends.storage.rows import UnreadableRule
from kalends.triggers import every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def at(ledger: Ledger, seconds: float) -> int:
    return ledger.now + round(seconds * US)


def test_a_created_event_reads_back_as_it_was_given(ledger: Ledger) -> None:
    made = ledger.create(
        ledger.definition(
            every(seconds=10),
            name="mine",
            job="reports.daily",
            arguments='{"args":[1,"two"],"kwargs":{"x":null}}',
            tags=("a", "b"),
            note="hello",
            catch_up="all",
            max_attempts=2,
        )
    )[0]
    assert ledger.event(made.id) == made
    assert (made.name, made.job, made.args, made.kwargs) == (
        "mine",
        "reports.daily",
        (1, "two"),
        {"x": None},
    )
    assert (made.tags, made.note, made.status) == (("a", "b"), "hello", EventStatus.ACTIVE)
    assert made.policies == Policies(catch_up="all", max_attempts=2)  # type: ignore[arg-type]
    assert made.trigger == every(seconds=10, anchor=from_us(ledger.now))
    assert made.next_due == from_us(at(ledger, 10))
    assert to_us(made.accounted_from) == ledger.now + 1
    assert (made.version, made.created_at) == (1, from_us(ledger.now))


def test_an_event_without_a_name_is_named_after_its_job_and_id(ledger: Ledger) -> None:
    nameless = Definition(
        name=None,
        job="j" * 200,
        arguments='{"args":[],"kwargs":{}}',
        trigger=every(hours=1),
        policies=Policies(),
    )
    one, two = ledger.create(nameless, nameless)
    assert one.name == f"{'j' * 180}-{short_form(one.id)}"
    assert one.name != two.name


def test_a_once_that_has_passed_is_late_and_not_void(ledger: Ledger) -> None:
    event = ledger.create(ledger.definition(once(from_us(at(ledger, -60)))))[0]
    assert event.next_due == event.accounted_from == from_us(at(ledger, -60))
    assert [claim.due for claim in ledger.claim().claims] == [at(ledger, -60)]
    assert ledger.check_accounts() == 1


def test_a_rule_whose_instants_have_all_passed_is_refused(ledger: Ledger) -> None:
    passed = every(seconds=1).between(from_us(at(ledger, -60)), from_us(at(ledger, -30)))
    with pytest.raises(ValidationFailed) as caught:
        ledger.create(ledger.definition(), ledger.definition(passed))
    assert caught.value.details["path"] == "[1].trigger"
    assert ledger.rows(EventRow.select(EventRow.id)) == [], "all or none"


def test_many_are_created_in_order_with_one_line_in_the_journal(ledger: Ledger) -> None:
    made = ledger.create(*(ledger.definition(name=f"n{number}") for number in range(1500)))
    assert [event.name for event in made] == [f"n{number}" for number in range(1500)]
    assert [event.id for event in made] == sorted(event.id for event in made)
    lines = ledger.run(list_entries, JournalQuery()).items
    assert [(line.kind, line.details["count"]) for line in lines] == [
        (JournalKind.EVENTS_CREATED, 1500)
    ]
    assert (lines[0].details["first_id"], lines[0].details["last_id"]) == (made[0].id, made[-1].id)


# -- collisions --------------------------------------------------------------------------------


def test_a_taken_name_is_an_error_unless_told_otherwise(ledger: Ledger) -> None:
    first = ledger.add(name="mine")
    with pytest.raises(ConflictError) as caught:
        ledger.create(ledger.definition(name="new"), ledger.definition(name="mine"))
    assert caught.value.details == {"path": "name", "name": "mine", "event_id": first}
    assert ledger.run(count_events, EventQuery()) == 1


def test_two_equal_names_in_one_call_are_an_error(ledger: Ledger) -> None:
    with pytest.raises(ConflictError) as caught:
        ledger.create(ledger.definition(name="mine"), ledger.definition(name="mine"))
    assert caught.value.details["path"] == "[1].name"
    assert ledger.run(count_events, EventQuery()) == 0


def test_keep_answers_with_the_event_that_is_there(ledger: Ledger) -> None:
    first = ledger.add(name="mine", job="a")
    kept, new, again = ledger.create(
        ledger.definition(name="mine", job="b"),
        ledger.definition(name="new", job="c"),
        ledger.definition(name="new", job="d"),
        conflict="keep",
    )
    assert (kept.id, kept.job, kept.version) == (first, "a", 1)
    assert (again.id, again.job) == (new.id, "c")


def test_replace_changes_the_event_that_is_there(ledger: Ledger) -> None:
    first = ledger.add(name="mine", job="a", tags=("old",), note="old")
    replaced = ledger.create(
        ledger.definition(name="mine", job="b", tags=("new",), overlap="allow_all"),
        conflict="replace",
    )[0]
    assert (replaced.id, replaced.job, replaced.tags, replaced.note) == (first, "b", ("new",), None)
    assert (replaced.version, replaced.policies.overlap) == (2, "allow_all")
    assert ledger.rows(TagRow.select(TagRow.tag)) == [("new",)]


def test_replacing_with_the_same_definition_changes_nothing(ledger: Ledger) -> None:
    made = ledger.create(ledger.definition(name="mine"))[0]
    ledger.clock.advance(7.0)
    again = ledger.create(ledger.definition(name="mine"), conflict="replace")[0]
    assert again == made


def test_replacing_with_the_same_rule_keeps_next_due_and_the_account(ledger: Ledger) -> None:
    made = ledger.create(ledger.definition(name="mine"))[0]
    ledger.clock.advance(7.0)
    again = ledger.create(ledger.definition(name="mine", job="b"), conflict="replace")[0]
    assert (again.next_due, again.accounted_from) == (made.next_due, made.accounted_from)
    assert (again.trigger, again.version) == (made.trigger, 2)


def test_replace_replaces_within_one_call_too(ledger: Ledger) -> None:
    one, two = ledger.create(
        ledger.definition(name="mine", job="a"),
        ledger.definition(name="mine", job="b"),
        conflict="replace",
    )
    assert one.id == two.id
    assert ledger.event(one.id).job == "b"


def test_the_name_of_a_deleted_event_is_free(ledger: Ledger) -> None:
    first = ledger.add(name="mine")
    ledger.set_status(first, "delete")
    second = ledger.add(name="mine")
    ledger.set_status(second, "delete")
    third = ledger.add(name="mine")
    assert len({first, second, third}) == 3


# -- reading -----------------------------------------------------------------------------------


def test_an_unknown_event_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(EventNotFound):
        ledger.run(ledger.here.events.get, "nothing")


def test_a_deleted_event_is_found_only_by_asking_for_it(ledger: Ledger) -> None:
    event_id = ledger.add()
    ledger.set_status(event_id, "delete", note="gone", author="me")
    with pytest.raises(EventNotFound):
        ledger.run(ledger.here.events.get, event_id)
    tomb = ledger.run(ledger.here.events.get, event_id, deleted=True)
    assert (tomb.status, tomb.note, tomb.next_due) == (EventStatus.DELETED, "gone", None)


@pytest.mark.parametrize("field", ["trigger", "policies", "arguments", "tags"])
@pytest.mark.parametrize("text", ["", "not json", "[]", '{"v":99}', '"\\ud800"', "[" * 100_000])
def test_a_damaged_row_does_not_hide_itself_or_others(
    ledger: Ledger, field: str, text: str
) -> None:
    bad, good = ledger.add(name="bad"), ledger.add(name="good")
    ledger.run(EventRow.update(**{field: text}).where(EventRow.id == bad).execute)
    found = ledger.run(list_events, EventQuery(sort="name")).items
    assert [event.id for event in found] == [bad, good]
    if field == "trigger":
        rule = found[0].trigger
        assert isinstance(rule, UnreadableRule)
        assert list(rule.between_us(0, 10**18)) == []
        assert rule.count_us(0, 9) == 0
        assert "cannot be read" in rule.describe()
        assert rule.to_json()["text"] == text
        assert repr(text[:80]) in repr(rule)
        assert rule == ledger.event(bad).trigger
