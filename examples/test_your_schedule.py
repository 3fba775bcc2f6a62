"""Test your own schedule: a file of tests for pytest, to copy and change.

    pip install kalends pytest
    pytest -p kalends.testing.plugin examples/test_your_schedule.py

In a project of yours, write pytest_plugins = ["kalends.testing.plugin"] in the top-level
conftest.py instead of -p.

Nothing waits and no job does real harm: time is virtual, a month passes in milliseconds, and what
a job would do is either called at once or only played.
"""

from __future__ import annotations

import sys
from typing import Any

import pendulum
import pytest

from kalends import Registry, cron, every, weekdays, working_day
from kalends.testing import (
    VirtualScheduler,
    assert_accounted,
    assert_executed,
    assert_next,
    assert_not_executed,
    assert_skipped,
    simulate,
)

# -- what an application has: jobs, and a function that makes its schedule ------------------------

jobs = Registry()
mails: list[str] = []


@jobs.job("books.close")
def close_books(country: str) -> str:
    """A real job; in a test it is called like any other function."""
    mails.append(f"the books of {country} are closed")
    return country


@jobs.job("shop.sync")
def sync_shop() -> None:
    """Fetch orders: slow now and then, and not always lucky."""


SCHEDULE: list[dict[str, Any]] = [
    {
        "job": "books.close",
        "trigger": cron("0 18 * * *", tz="Europe/Oslo")
        & working_day(-1, closed=weekdays("sat", "sun")),
        "name": "month-end",
        "kwargs": {"country": "NO"},
    },
    {"job": "shop.sync", "trigger": every(minutes=10), "name": "sync", "overlap": "skip"},
    {"job": "shop.sync", "trigger": cron("30 2 * * *", tz="Europe/Oslo"), "name": "nightly"},
]

# -- the tests --------------------------------------------------------------------------------


@pytest.fixture
def kalends_registry() -> Registry:
    """The jobs that kalends_scheduler runs."""
    return jobs


def test_books_are_closed_on_the_last_working_day() -> None:
    assert_next(
        SCHEDULE[0]["trigger"],
        ["2027-01-29T18:00", "2027-02-26T18:00", "2027-03-31T18:00"],
        tz="Europe/Oslo",
    )


@pytest.mark.kalends(start="2027-01-01T00:00+01:00")
def test_closing_really_calls_the_job(kalends_scheduler: VirtualScheduler) -> None:
    mails.clear()
    kalends_scheduler.schedule_events(SCHEDULE[:1])
    kalends_scheduler.advance_to(pendulum.datetime(2027, 3, 1, tz="Europe/Oslo"))
    assert_executed(kalends_scheduler, "month-end", due="2027-01-29T17:00Z")
    assert_executed(kalends_scheduler, "month-end", count=2)
    assert mails == ["the books of NO are closed"] * 2


def test_the_night_in_which_summer_time_begins_and_ends() -> None:
    year = simulate(SCHEDULE[2:], at("2027-01-01"), at("2028-01-01"))
    # 02:30 does not exist on 28 March: the run comes at the end of the gap, 03:00.
    assert_executed(year, "nightly", due="2027-03-28T03:00", tz="Europe/Oslo")
    # It exists twice on 31 October: the first one runs, an hour later nothing does.
    assert_executed(year, "nightly", due="2027-10-31T00:30Z")
    assert_not_executed(year, "nightly", due="2027-10-31T01:30Z")
    assert_executed(year, "nightly", count=365)


def test_an_outage_costs_one_late_run_and_its_gap_is_accounted_for() -> None:
    down, up = at("2027-01-01T10:05"), at("2027-01-01T12:15")
    day = simulate(SCHEDULE[1:2], at("2027-01-01"), at("2027-01-02"), outages=[(down, up)])
    (late,) = assert_executed(day, "sync", since=down, until=up)
    assert late.lateness == 5 * 60
    assert_skipped(day, "sync", reason="coalesced", count=12)


def test_a_slow_run_is_not_overtaken() -> None:
    day = simulate(SCHEDULE[1:2], at("2027-01-01"), at("2027-01-02"), durations={"sync": 900})
    assert_executed(day, "sync", fate=None, count=72)  # the last one still runs at the end
    assert_skipped(day, "sync", reason="overlap", count=72)


def test_a_run_that_fails_twice_is_tried_a_third_time() -> None:
    patient = {**SCHEDULE[2], "retries": 3, "retry_delay": 60}
    night = simulate(
        [patient],
        at("2027-01-01"),
        at("2027-01-02"),
        failures=lambda due, attempt, rng: ConnectionError("no route") if attempt <= 2 else None,
    )
    (execution,) = assert_executed(night, "nightly", count=1)
    assert [attempt.outcome for attempt in execution.attempts] == ["failed", "failed", "succeeded"]


def test_whatever_happens_the_accounts_are_right() -> None:
    week = simulate(
        SCHEDULE,
        at("2027-01-01"),
        at("2027-01-08"),
        durations=lambda due, attempt, rng: rng.uniform(0, 1200),
        failures=0.1,
        outages=[(at("2027-01-02T03:00"), at("2027-01-03T09:00"))],
        seed=1,
    )
    assert_accounted(week)


def at(text: str) -> pendulum.DateTime:
    """An instant in UTC."""
    parsed = pendulum.parse(text)
    assert isinstance(parsed, pendulum.DateTime)
    return parsed


if __name__ == "__main__":
    options = ["-v", "--no-header", "-p", "no:cacheprovider", "-p", "kalends.testing.plugin"]
    sys.exit(pytest.main([*options, __file__]))
