"""Ids are UUID version 7 and strictly increase."""

from __future__ import annotations

import random
import threading
import uuid

import pytest

from kalends.errors import ValidationFailed
from kalends.ids import IdSource, check_id, short_form
from kalends.testing import ManualClock


def test_an_id_is_a_uuid_of_version_7_that_holds_its_millisecond() -> None:
    clock = ManualClock(1_800_000_000_123_456)
    made = uuid.UUID(IdSource(clock)())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_800_000_000_123


def test_ids_increase_within_a_millisecond_and_when_the_clock_steps_back() -> None:
    clock = ManualClock(1_800_000_000_000_000)
    ids = IdSource(clock)
    made = [ids() for _ in range(10_000)]
    clock.jump(-3600)
    made += [ids() for _ in range(10)]
    clock.advance(7200)
    made += [ids() for _ in range(10)]
    assert made == sorted(set(made))


def test_threads_share_a_source_without_making_an_id_twice() -> None:
    ids = IdSource(ManualClock(0))
    made: list[list[str]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda mine=mine: mine.extend(ids() for _ in range(2000)))
        for mine in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({one for mine in made for one in mine}) == 8000


def test_the_same_seed_makes_the_same_ids() -> None:
    first = IdSource(ManualClock(0), random.Random(7))
    second = IdSource(ManualClock(0), random.Random(7))
    assert [first() for _ in range(5)] == [second() for _ in range(5)]


def test_several_ids_are_those_that_one_by_one_would_have_been() -> None:
    first = IdSource(ManualClock(0), random.Random(7))
    second = IdSource(ManualClock(0), random.Random(7))
    assert first.several(5000) == [second() for _ in range(5000)]
    assert first() == second()
    assert first.several(0) == []


def test_the_short_form_of_ids_grows_with_them_and_tells_them_apart() -> None:
    clock = ManualClock(1_800_000_000_000_000)
    ids = IdSource(clock)
    made = [short_form(one) for one in ids.several(10_000)]
    clock.advance(86_400)
    made += [short_form(one) for one in ids.several(10)]
    assert made == sorted(set(made))
    assert {len(one) for one in made} == {18}


@pytest.mark.parametrize(
    "value",
    [None, 5, "", "x" * 36, "0" * 36, b"01890a5d-ac96-774b-bcce-b302099a8057",
     "01890A5D-AC96-774B-BCCE-B302099A8057", "01890a5d-ac96-774b-bcce-b302099a8057\n",
     "01890a5d-ac96-774b-bcce-b302099a805\u0667"],
)  # fmt: skip
def test_what_has_not_the_form_of_an_id_is_refused(value: object) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        check_id(value, "event_id")
    assert refusal.value.details["path"] == "event_id"


def test_what_has_the_form_is_returned_as_it_is() -> None:
    made = IdSource(ManualClock(0))()
    assert check_id(made, "event_id") is made
