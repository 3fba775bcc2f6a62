"""Public holidays as days to leave out or keep to."""

from __future__ import annotations

import sys
from typing import Any

import pendulum
import pytest

from kalends.clock import MAX_US, MIN_US
from kalends.errors import ValidationFailed
from kalends.triggers import cron, dates, from_json, public_holidays, weekdays
from kalends.triggers.public_holidays import holidays

pytest.importorskip("holidays")

EASTER = pendulum.datetime(2026, 3, 30), pendulum.datetime(2026, 4, 9)


def test_a_rule_leaves_out_public_holidays_and_weekends() -> None:
    rule = cron("0 6 * * *", tz="Europe/Oslo") - (holidays("NO") | weekdays("sat", "sun"))
    assert [at.day for at in rule.between(*EASTER)] == [30, 31, 1, 7, 8]
    assert rule.count(*EASTER) == 5
    assert rule.previous(pendulum.datetime(2026, 4, 7)) == pendulum.datetime(2026, 4, 1, 4)


def test_a_rule_keeps_to_public_holidays() -> None:
    rule = cron("0 12 * * *", tz="Europe/Oslo") & holidays("NO")
    found = [at.format("MM-DD") for at in rule.between(*EASTER)]
    assert found == ["04-02", "04-03", "04-05", "04-06"]
    assert rule.next(pendulum.datetime(2026, 12, 27)) == pendulum.datetime(2027, 1, 1, 11)
    assert rule.previous(pendulum.datetime(2026, 1, 1)) == pendulum.datetime(2025, 12, 26, 11)


def test_years_that_the_package_does_not_know_have_no_holidays() -> None:
    kept = cron("0 12 * * *") & holidays("NO")
    left_out = cron("0 12 * * *") - holidays("NO")
    assert kept.next_us(MAX_US - 10**16) is None
    assert kept.previous_us(MIN_US + 10**16) is None
    assert left_out.next_us(MIN_US) is not None
    first, last = kept.next_us(MIN_US), kept.previous_us(MAX_US)
    assert first is not None
    assert last is not None
    assert first < last


def test_holidays_are_values() -> None:
    days = holidays("US", subdiv="CA", tz="America/Los_Angeles")
    assert repr(days) == "holidays('US', subdiv='CA', tz='America/Los_Angeles')"
    rule = cron("0 12 * * *") - (days | dates("2026-07-03"))
    assert from_json(rule.to_json()) == rule
    assert rule.describe() == (
        "at 12:00 every day, UTC; except on public holidays of US-CA or 2026-07-03"
    )
    bank = holidays("DK", categories=("optional", "public"))
    assert eval(repr(bank), {"holidays": holidays}) == bank  # noqa: S307  (its own text)
    assert hash(bank) != hash(holidays("DK"))
    assert from_json((cron("0 0 * * *") - bank).to_json()) == cron("0 0 * * *") - bank


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ({"country": "ZZ"}, "country"),
        ({"country": "Norway?"}, "country"),
        ({"country": None}, "country"),
        ({"country": 5}, "country"),
        ({"country": "US", "subdiv": "ZZ"}, "subdiv"),
        ({"country": "US", "subdiv": 5}, "subdiv"),
        ({"country": "NO", "categories": ("catering",)}, "categories"),
        ({"country": "NO", "categories": "public"}, "categories"),
        ({"country": "NO", "categories": ()}, "categories"),
        ({"country": "NO", "tz": "Mars/Phobos"}, "tz"),
    ],
)
def test_an_unknown_country_or_part_is_refused(words: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        holidays(**words)
    assert caught.value.details["path"] == path


def test_without_the_package_the_refusal_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    public_holidays._load.cache_clear()
    with pytest.raises(ValidationFailed, match=r"kalends\[holidays\]"):
        holidays("NO")
