"""The single checks: what they take, what they make of it, what they refuse."""

from __future__ import annotations

import enum
from typing import Any
from unittest import mock

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends import EventStatus, Fate, ValidationFailed
from kalends.ids import IdSource
from kalends.refusals import checking, refusing
from kalends.testing import ManualClock
from kalends.validation import (
    choice,
    class_names,
    event_query,
    execution_query,
    flag,
    gap_query,
    identifier,
    instant,
    journal_query,
    known_keywords,
    note,
    number,
    shown,
    tags,
    text,
)

START = pendulum.datetime(2027, 1, 1, tz="UTC")
ID = IdSource(ManualClock(START))()


class Loud(str):
    """A subclass that would have its own way of everything."""

    __slots__ = ()

    def __str__(self) -> str:
        return "LOUD"

    def __len__(self) -> int:
        return 5

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


def test_the_class_of_an_exception_is_asked_for_by_its_name() -> None:
    words = r"^.*retry_on\[1\] must be the name of the class, such as 'ValueError', not the class"
    for value in (["OSError", ValueError], ("OSError", ValueError)):
        with pytest.raises(ValidationFailed, match=words) as refusal:
            class_names(value, "retry_on")
        assert refusal.value.details["path"] == "retry_on[1]"
    assert class_names(["ValueError"], "retry_on") == ("ValueError",)


@given(st.text())
def test_text_is_returned_as_it_was_or_refused(value: str) -> None:
    try:
        assert text(value, "x", 10) == value
    except ValidationFailed as error:
        assert error.details["path"] == "x"  # noqa: PT017  (a refusal is one of two good ends)
        assert not value.strip() or len(value) > 10 or not value.isprintable()


def test_a_subclass_of_text_is_reduced_to_its_plain_value() -> None:
    found = text(Loud("quiet"), "x", 10)
    assert type(found) is str
    assert str.__eq__(found, "quiet")
    assert type(note(Loud("quiet"), "x")) is str
    assert type(tags([Loud("quiet")], "x")[0]) is str
    assert type(identifier(Loud(ID), "x")) is str


def test_what_merely_poses_as_text_or_a_number_is_refused() -> None:
    with pytest.raises(ValidationFailed):
        text(mock.Mock(spec=str), "x", 10)
    with pytest.raises(ValidationFailed):
        number(mock.Mock(spec=int), "x", 0, 10)
    with pytest.raises(ValidationFailed):
        flag(1, "x")


class Number(enum.IntEnum):
    FIVE = 5


def test_numbers_are_plain_finite_and_in_their_range() -> None:
    assert type(number(Number.FIVE, "x", 0, 10)) is int
    assert number(5.5, "x", 0, 10) == 5.5
    for wrong in (True, "5", None, float("nan"), float("inf"), -1, 11, 10**400):
        with pytest.raises(ValidationFailed) as caught:
            number(wrong, "x", 0, 10)
        assert caught.value.details["path"] == "x"
        assert len(caught.value.message) < 200
    with pytest.raises(ValidationFailed, match="whole"):
        number(5.0, "x", 0, 10, whole=True)


def test_a_choice_is_a_member_or_its_word() -> None:
    assert choice(Fate, "failed", "fate") is Fate.FAILED
    assert choice(Fate, Fate.FAILED, "fate") is Fate.FAILED
    with pytest.raises(ValidationFailed, match="did you mean 'failed'"):
        choice(Fate, "faild", "fate")
    with pytest.raises(ValidationFailed, match="succeeded"):
        choice(Fate, None, "fate")


def test_tags_keep_their_order_and_sets_have_one() -> None:
    assert tags(["b", "a", "b"], "tags") == ("b", "a")
    assert tags({"b", "a"}, "tags") == ("a", "b")
    assert tags((), "tags") == ()


def test_instants_need_a_zone() -> None:
    assert instant(None, "since") is None
    assert instant(START, "since") == int(START.timestamp()) * 1_000_000
    with pytest.raises(ValidationFailed, match="time zone"):
        instant(START.naive(), "since")


@pytest.mark.parametrize(
    "value", ["", ID.upper(), ID[:-1], f"{ID}\n", f" {ID}", ID.replace("-", ""), 5, None, b"x"]
)
def test_only_an_id_is_an_id(value: Any) -> None:
    assert identifier(ID, "event_id") == ID
    with pytest.raises(ValidationFailed) as caught:
        identifier(value, "event_id")
    assert caught.value.details["path"] == "event_id"


def test_keywords_of_any_type_are_compared_with_the_known() -> None:
    known_keywords({"limit": 1}, ("limit",), "query")
    for wrong in ({"limits": 1}, {5: 1}, {None: 1}, {Loud("x"): 1}):
        with pytest.raises(ValidationFailed):
            known_keywords(wrong, ("limit",), "query")  # type: ignore[arg-type]


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=200))
def test_what_is_shown_is_short_and_can_be_printed(value: Any) -> None:
    assert len(shown(value)) < 3000
    assert shown(value).encode()


def test_queries_say_what_was_asked() -> None:
    found = event_query(status="active", tag="a", job="j", name="n*", due_from=START, limit=7)
    assert (found.status, found.tag, found.job, found.name) == (EventStatus.ACTIVE, "a", "j", "n*")
    assert (found.due_from, found.due_until, found.limit) == (instant(START, "x"), None, 7)
    assert (found.sort, found.descending) == ("created_at", False)
    executions = execution_query(event_id=ID, fate="failed", manual=False, until=START)
    assert (executions.event_id, executions.fate, executions.manual) == (ID, Fate.FAILED, False)
    assert executions.descending
    assert gap_query(since=START).since == instant(START, "x")
    assert journal_query(kind="clock_jumped").kind == "clock_jumped"


@pytest.mark.parametrize("query", [event_query, execution_query, gap_query, journal_query])
@pytest.mark.parametrize(
    ("field", "value"),
    [("limit", 0), ("limit", 1001), ("limit", True), ("cursor", 5), ("cursor", "x" * 3000),
     ("nonsense", 1)],
)  # fmt: skip
def test_queries_refuse_what_they_do_not_know(query: Any, field: str, value: Any) -> None:
    with pytest.raises(ValidationFailed) as caught:
        query(**{field: value})
    assert caught.value.details["path"].endswith(field)


def test_the_order_of_events_is_one_of_a_closed_set() -> None:
    with pytest.raises(ValidationFailed, match="did you mean 'name'"):
        event_query(sort="nam")
    with pytest.raises(ValidationFailed):
        event_query(sort="name; DROP TABLE events")


def test_arguments_that_do_not_fit_are_refused_and_bugs_go_through() -> None:
    @refusing
    def call(name: str, *, limit: int = 5) -> str:
        if limit > 5:
            raise TypeError("a bug")
        return name

    assert call("x") == "x"
    for wrong in ({}, {"name": "x", "limits": 1}, {"nam": "x"}):
        with pytest.raises(ValidationFailed):
            call(**wrong)
    with pytest.raises(ValidationFailed, match="did you mean 'limit'"):
        call("x", limt=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="a bug"):
        call("x", limit=6)


def test_what_a_value_raises_while_it_is_looked_at_is_its_own_fault() -> None:
    class Spiteful:
        def __iter__(self) -> Any:
            raise ZeroDivisionError

    @checking
    def call(items: Any) -> list[Any]:
        return list(items)

    assert call([1]) == [1]
    with pytest.raises(ValidationFailed) as caught:
        call(Spiteful())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
