"""Lists of events: conditions, every order in both directions, and pages that nothing shifts."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kalends.clock import US, from_us
from kalends.errors import ValidationFailed
from kalends.model import Event, EventStatus
from kalends.queries import EventQuery
from kalends.storage.event_queries import SORT_KEYS, count_events, list_events
from kalends.storage.models import EventRow
from kalends.triggers import every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

NAMES = ("a", "A", "ab", "a*b", "a?b", "a[b]", "a%b", "a_b", "b", "ü", "a\\b", "]", "[")


def names(ledger: Ledger, **conditions: Any) -> list[str]:
    query = EventQuery(sort="name", limit=1000, **conditions)
    found = [event.name for event in ledger.run(list_events, query).items]
    assert ledger.run(count_events, query) == len(found)
    return found


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("a", {"a"}),
        ("A", {"A"}),
        ("a*", {"a", "ab", "a*b", "a?b", "a[b]", "a%b", "a_b", "a\\b"}),
        ("a?b", {"a*b", "a?b", "a%b", "a_b", "a\\b"}),
        ("a[b]", {"a[b]"}),
        ("a%b", {"a%b"}),
        ("a_b", {"a_b"}),
        ("?", {"a", "A", "b", "ü", "]", "["}),
        ("[", {"["}),
        ("]", {"]"}),
        ("[a-b]", set()),
        ("*", set(NAMES)),
        ("", set()),
        ("' OR 1=1 --", set()),
    ],
)
def test_only_star_and_question_mark_mean_more_than_themselves(
    ledger: Ledger, pattern: str, matching: set[str]
) -> None:
    ledger.create(*(ledger.definition(name=name) for name in NAMES))
    assert set(names(ledger, name=pattern)) == matching


def test_a_pattern_made_to_be_slow_is_not(ledger: Ledger) -> None:
    ledger.add(name="a" * 200)
    assert names(ledger, name="*a" * 90 + "*b") == []


def test_conditions_hold_together(ledger: Ledger) -> None:
    now = ledger.now
    ledger.create(
        ledger.definition(once(from_us(now + 10 * US)), name="one", job="j", tags=("t", "u")),
        ledger.definition(once(from_us(now + 20 * US)), name="two", job="j", tags=("t",)),
        ledger.definition(once(from_us(now + 30 * US)), name="six", job="k", tags=("u",)),
    )
    ledger.set_status(ledger.add(name="gone"), "delete")
    ledger.set_status(ledger.add(every(hours=1), name="rest", job="k"), "pause")
    assert names(ledger) == ["one", "rest", "six", "two"]
    assert names(ledger, status=EventStatus.DELETED) == ["gone"]
    assert names(ledger, status=EventStatus.PAUSED) == ["rest"]
    assert names(ledger, tag="t") == ["one", "two"]
    assert names(ledger, tag="t", job="j", name="o*") == ["one"]
    assert names(ledger, tag="T") == []
    assert names(ledger, due_from=now + 10 * US, due_until=now + 30 * US) == ["one", "two"]
    assert names(ledger, due_until=now + 10 * US) == []
    assert names(ledger, job="k", status=EventStatus.ACTIVE) == ["six"]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", sorted(SORT_KEYS))
def test_every_order_pages_through_all_in_both_directions(
    ledger: Ledger, sort: str, descending: bool
) -> None:
    for number in range(23):
        ledger.clock.advance(number % 3)
        due = from_us(ledger.now + (number * 7 % 5 + 1) * US)
        event_id = ledger.add(once(due), name=f"{number * 7 % 23:02}")
        if number % 4 == 0:
            end = EventRow.update(status="completed").where(EventRow.id == event_id)
            ledger.run(end.execute)
    ledger.clock.advance(2.0)
    ledger.claim()
    whole = ledger.run(list_events, EventQuery(sort=sort, descending=descending, limit=1000))
    assert whole.cursor is None

    def key(event: Any) -> tuple[Any, str]:
        value = getattr(event, sort)
        return (from_us(253_402_300_799 * US) if value is None else value, event.id)

    assert list(whole.items) == sorted(whole.items, key=key, reverse=descending)
    cursor: str | None = None
    paged: list[Event] = []
    while True:
        page = ledger.run(
            list_events, EventQuery(sort=sort, descending=descending, limit=4, cursor=cursor)
        )
        paged += page.items
        cursor = page.cursor
        if cursor is None:
            break
    assert paged == list(whole.items)


def test_rows_that_come_and_go_meanwhile_shift_no_page(ledger: Ledger) -> None:
    ids = [ledger.add(name=f"n{number:02}") for number in range(0, 20, 2)]
    first = ledger.run(list_events, EventQuery(sort="name", limit=4))
    ledger.set_status(ids[0], "delete")
    ledger.set_status(ids[3], "delete")
    ledger.add(name="n01")
    ledger.add(name="n07")
    rest = ledger.run(list_events, EventQuery(sort="name", limit=100, cursor=first.cursor))
    assert [event.name for event in rest.items] == ["n07", "n08", "n10", "n12", "n14", "n16", "n18"]


def test_the_last_full_page_has_no_cursor(ledger: Ledger) -> None:
    for _ in range(4):
        ledger.add()
    assert ledger.run(list_events, EventQuery(limit=4)).cursor is None
    assert ledger.run(list_events, EventQuery(limit=3)).cursor is not None


# -- what a stranger may send ------------------------------------------------------------------


def forged(*values: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "!!!!",
        "ü",
        "A" * 100_000,
        forged(),
        forged("events:name:0"),
        forged("events:name:0", "a"),
        forged("events:name:0", "a", "b", "c"),
        forged("events:name:0", 1, "b"),
        forged("events:name:0", "a", 1),
        forged("events:name:0", None, None),
        forged("events:name:0", ["a"], "b"),
        forged("events:name:0", 1.5, "b"),
        forged("events:name:0", True, "b"),
        forged("events:name:1", "a", "b"),
        forged("events:created_at:0", 1, "b"),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        base64.urlsafe_b64encode(b'["events:name:0"').decode(),
    ],
)
def test_a_cursor_from_elsewhere_is_refused(ledger: Ledger, cursor: str) -> None:
    ledger.add()
    with pytest.raises(ValidationFailed) as caught:
        ledger.run(list_events, EventQuery(sort="name", cursor=cursor))
    assert caught.value.details["path"] == "cursor"


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_a_cursor_with_a_number_beyond_the_database_is_refused(ledger: Ledger, number: int) -> None:
    with pytest.raises(ValidationFailed):
        ledger.run(list_events, EventQuery(cursor=forged("events:created_at:0", number, "x")))


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=60), raw=st.binary(max_size=60))
def test_no_cursor_does_more_than_be_refused(ledger: Ledger, text: str, raw: bytes) -> None:
    for cursor in (text, base64.urlsafe_b64encode(raw).decode()):
        with pytest.raises(ValidationFailed) as caught:
            ledger.run(list_events, EventQuery(cursor=cursor))
        assert caught.value.details["path"] == "cursor"


def test_an_honest_cursor_with_hostile_values_finds_nothing_else(ledger: Ledger) -> None:
    ledger.add(name="a")
    cursor = forged("events:name:0", "' OR 1=1 --", "x")
    found = ledger.run(list_events, EventQuery(sort="name", cursor=cursor)).items
    assert [event.name for event in found] == ["a"]


def test_an_unknown_order_is_refused_with_the_nearest(ledger: Ledger) -> None:
    with pytest.raises(ValidationFailed, match="next_due"):
        ledger.run(list_events, EventQuery(sort="nextdue"))


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_sensible_size(ledger: Ledger, limit: int) -> None:
    with pytest.raises(ValidationFailed) as caught:
        ledger.run(list_events, EventQuery(limit=limit))
    assert caught.value.details["path"] == "limit"
