"""Next runs and heat maps: against lists made by hand or by brute force over the rules."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from kalends.clock import US, from_us, to_us
from kalends.errors import ValidationFailed
from kalends.model import EventStatus
from kalends.outlook import HeatMap, NextRun
from kalends.queries import EventQuery
from kalends.storage import heat, outlooks
from kalends.storage.accounts import readable_rule
from kalends.storage.heat import HeatRange
from kalends.storage.models import EventRow
from kalends.storage.outlooks import Forecast, next_runs
from kalends.triggers import Trigger, cron, every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

SUNDAY = to_us(pendulum.datetime(2027, 3, 28, tz="UTC"))
"""Berlin puts its clocks forward at 01:00 UTC of this day."""


def ahead(ledger: Ledger, limit: int = 50, until: int | None = None, **which: Any) -> list[NextRun]:
    query = EventQuery(status=EventStatus.ACTIVE, due_until=until, limit=limit, **which)
    return list(ledger.run(next_runs, query, now=ledger.now))


def seconds(ledger: Ledger, runs: list[NextRun]) -> list[int]:
    return [(to_us(run.instant) - ledger.now) // US for run in runs]


def forecast(
    ledger: Ledger, days: int = 1, tz: str = "UTC", busiest: int = 10, **which: Any
) -> HeatMap:
    query = EventQuery(status=EventStatus.ACTIVE, **which)
    work = Forecast(query, HeatRange.ahead(ledger.now, days, tz), busiest=busiest)
    while (found := ledger.run(work.step)) is None:
        continue
    return found


# -- next runs ---------------------------------------------------------------------------------


def test_the_runs_of_all_events_come_in_one_order(ledger: Ledger) -> None:
    tens, fours = ledger.add(every(seconds=10)), ledger.add(every(seconds=4))
    runs = ahead(ledger, limit=6)
    assert seconds(ledger, runs) == [4, 8, 10, 12, 16, 20]
    assert [run.event_id for run in runs] == [fours, fours, tens, fours, fours, tens]
    assert {(run.name, run.job, run.delay) for run in runs} == {
        ("event-1", "work", 0.0),
        ("event-2", "work", 0.0),
    }


def test_they_end_with_the_limit_the_bound_and_the_rules(ledger: Ledger) -> None:
    ledger.add(once(from_us(ledger.now + 5 * US)))
    ledger.add(every(seconds=10))
    assert seconds(ledger, ahead(ledger, until=ledger.now + 30 * US)) == [5, 10, 20]
    assert seconds(ledger, ahead(ledger, until=ledger.now + 30 * US + 1)) == [5, 10, 20, 30]
    assert seconds(ledger, ahead(ledger, limit=1)) == [5]
    ledger.run(lambda db: EventRow.delete().where(EventRow.name == "event-2").execute(db))
    assert seconds(ledger, ahead(ledger)) == [5]


def test_what_waits_has_its_place_by_when_it_may_begin(ledger: Ledger) -> None:
    tens = ledger.add(every(seconds=10), retries=3, retry_delay=17.0, retry_jitter=0.0)
    other = ledger.add(every(seconds=25), name="other", tags=("x",))
    ledger.clock.advance(10)
    (claim,) = ledger.claim().claims
    assert seconds(ledger, ahead(ledger, limit=1)) == [10]
    ledger.fail(claim)
    runs = ahead(ledger, limit=4)
    assert [(run.event_id, run.execution_id) for run in runs] == [
        (tens, None),
        (other, None),
        (tens, claim.id),
        (tens, None),
    ]
    assert (to_us(runs[2].instant), runs[2].delay) == (claim.due, 17.0)
    assert claim.id not in {run.execution_id for run in ahead(ledger, limit=9, tag="x")}
    assert len(ahead(ledger, until=ledger.now + 17 * US)) == 2
    assert len(ahead(ledger, until=ledger.now + 17 * US + 1)) == 3
    ledger.set_status(tens, "pause")
    assert {run.event_id for run in ahead(ledger, limit=9)} == {other}


def test_only_active_events_of_the_query_have_runs(ledger: Ledger) -> None:
    wanted = ledger.add(every(seconds=7), name="nightly-a", tags=("x",), job="load")
    others = [
        ledger.add(every(seconds=1), name="nightly-b", tags=("x",)),
        ledger.add(every(seconds=1), name="nightly-c", job="load"),
        ledger.add(every(seconds=1), name="daily", tags=("x",), job="load"),
    ]
    runs = ahead(ledger, limit=3, tag="x", job="load", name="nightly*")
    assert {run.event_id for run in runs} == {wanted}
    for event_id, verb in zip(others, ("pause", "delete", "pause"), strict=True):
        ledger.set_status(event_id, verb)
    assert {run.event_id for run in ahead(ledger, limit=3)} == {wanted}


def test_an_event_that_is_behind_has_one_run_in_the_past(ledger: Ledger) -> None:
    ledger.add(every(seconds=10))
    ledger.clock.advance(3605)
    assert seconds(ledger, ahead(ledger, limit=3)) == [-3595, 5, 15]


def test_a_run_says_how_late_its_jitter_lets_it_begin(ledger: Ledger) -> None:
    rule = every(seconds=60).jitter(30)
    event_id = ledger.add(rule)
    runs = ahead(ledger, limit=5)
    stored = ledger.event(event_id).trigger
    drawn = [stored.delay_us(to_us(run.instant), event_id) / US for run in runs]
    assert [run.delay for run in runs] == drawn
    assert len(set(drawn)) > 1
    assert seconds(ledger, runs) == [60, 120, 180, 240, 300]


def test_what_cannot_be_read_or_gives_up_hides_nothing_else(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = ledger.add(every(seconds=3)), ledger.add(every(seconds=10))
    ledger.run(lambda db: EventRow.update(trigger="{}").where(EventRow.id == bad).execute(db))
    assert {run.event_id for run in ahead(ledger, limit=3)} == {good}
    assert forecast(ledger).events == 1
    tired = ledger.add(cron("0 12 * * *"))
    monkeypatch.setattr(type(cron("0 0 * * *")), "next_us", _gives_up)
    runs = ahead(ledger, limit=10_000, until=ledger.now + 86_400 * US)
    assert [run.event_id for run in runs].count(tired) == 1
    assert [run.event_id for run in runs].count(good) == 8639
    found = forecast(ledger)
    assert (found.events, found.runs) == (1, 8639)


def _gives_up(*_: object) -> int:
    raise ValidationFailed("searched in vain", path="trigger")


def test_a_thousand_events_are_not_read_for_a_few_runs(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.create(*(ledger.definition(every(seconds=100 + n)) for n in range(1000)))
    read: list[str] = []

    def reading(text: str) -> Trigger | None:
        read.append(text)
        return readable_rule(text)

    monkeypatch.setattr(outlooks, "readable_rule", reading)
    assert seconds(ledger, ahead(ledger, limit=4)) == [100, 101, 102, 103]
    assert len(read) <= 5


def test_runs_are_those_of_all_rules_merged(ledger: Ledger) -> None:
    draw = random.Random(5)
    rules = [every(seconds=draw.randint(3, 40)) for _ in range(30)]
    ids = [ledger.add(rule) for rule in rules]
    stored = {event_id: ledger.event(event_id).trigger for event_id in ids}
    expected = sorted(
        (instant, event_id)
        for event_id, rule in stored.items()
        for instant in itertools.islice(rule.between_us(ledger.now + 1, ledger.now + 60 * US), 20)
    )
    runs = ahead(ledger, limit=1000, until=ledger.now + 60 * US)
    assert [(to_us(run.instant), run.event_id) for run in runs] == expected


# -- heat --------------------------------------------------------------------------------------


def brute(ledger: Ledger, found: HeatMap) -> Counter[int]:
    """How many events are due at each instant of the map's time, by walking every rule."""
    since, until = to_us(found.since), to_us(found.until)
    query = EventRow.select(EventRow.id, EventRow.next_due).where(EventRow.status == "active")
    due: Counter[int] = Counter()
    for event_id, next_due in ledger.rows(query):
        due.update(ledger.event(event_id).trigger.between_us(max(since, next_due), until))
    return due


def check(ledger: Ledger, found: HeatMap) -> None:
    """Every hour's runs and every collision are those of a walk over all instants."""
    due = brute(ledger, found)
    assert [hour.since for hour in found.hours[1:]] == [hour.until for hour in found.hours[:-1]]
    assert (found.hours[0].since, found.hours[-1].until) == (found.since, found.until)
    for hour in found.hours:
        since, until = to_us(hour.since), to_us(hour.until)
        assert hour.runs == sum(n for at, n in due.items() if since <= at < until), hour
    assert found.runs == sum(due.values())
    ranked = sorted(((n, -at) for at, n in due.items() if n > 1), reverse=True)
    told = [(item.count, -to_us(item.instant)) for item in found.busiest]
    assert told == ranked[: len(told)]
    assert len(told) == min(len(ranked), 10)


def test_an_empty_ledger_has_a_map_of_empty_hours(ledger: Ledger) -> None:
    found = forecast(ledger, days=2)
    assert (found.events, found.runs, found.busiest) == (0, 0, ())
    assert len(found.hours) == 48
    check(ledger, found)


@pytest.mark.parametrize("seed", range(6))
def test_a_map_counts_what_a_walk_over_all_instants_counts(ledger: Ledger, seed: int) -> None:
    draw = random.Random(seed)
    ledger.clock.advance(draw.randint(1, 4000))

    def rule() -> Trigger:
        return draw.choice(
            [
                every(seconds=draw.choice([7, 60, 90, 3600, 7201])),
                cron(f"{draw.choice(['*/20', '0', '15'])} {draw.choice(['*', '3', '*/2'])} * * *"),
                cron("30 2 * * *", tz="Europe/Berlin"),
                every(minutes=15) - cron("0 * * * *"),
                once(from_us(ledger.now + draw.randint(1, 90_000) * US)),
            ]
        )

    for _ in range(25):
        ledger.add(rule())
    ledger.clock.advance(1000)
    found = forecast(ledger)
    check(ledger, found)
    assert found.runs > 100


def test_an_event_counts_from_its_next_instant_without_a_fate(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=600))
    row = EventRow.id == event_id
    ledger.run(lambda db: EventRow.update(next_due=ledger.now + 1800 * US).where(row).execute(db))
    found = forecast(ledger)
    assert (found.hours[0].runs, found.runs) == (3, 141)
    ledger.clock.advance(7200)
    assert forecast(ledger).hours[0].runs == 6


def test_a_rule_of_every_second_is_counted_and_not_followed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        ledger.add(cron("* * * * * *"))
    ledger.add(once(from_us(ledger.now + 3000 * US)))
    steps: list[int] = []
    original = heat._next

    def stepping(rule: Trigger, after: int) -> int | None:
        steps.append(after)
        return original(rule, after)

    monkeypatch.setattr(heat, "_next", stepping)
    monkeypatch.setattr(heat.Heat, "_follow", _no_more_than(heat.WALKED))
    found = forecast(ledger, days=92)
    assert found.runs == 3 * (92 * 86_400 - 1) + 1  # what is due now is not ahead
    assert len(steps) < 1000
    assert [item.count for item in found.busiest][:2] == [4, 3]
    assert found.busiest[0].instant == from_us(ledger.now + 3000 * US)


def _no_more_than(limit: int) -> Any:
    original = heat.Heat._follow

    def follow(self: heat.Heat, rule: Trigger, start: int, weight: int) -> None:
        assert rule.count_us(start, self._range.until) <= limit
        original(self, rule, start, weight)

    return follow


def test_a_collision_names_its_events(ledger: Ledger) -> None:
    ids = [ledger.add(cron("0 12 * * *")) for _ in range(3)]
    ledger.add(every(days=1).jitter(60))
    (found,) = forecast(ledger).busiest
    assert found.count == 3
    assert [run.event_id for run in found.events] == sorted(ids)
    assert {run.instant for run in found.events} == {found.instant}
    ledger.create(*(ledger.definition(cron("0 12 * * *")) for _ in range(heat.MAX_SHOWN)))
    (found,) = forecast(ledger, busiest=1).busiest
    assert (found.count, len(found.events)) == (3 + heat.MAX_SHOWN, heat.MAX_SHOWN)
    assert forecast(ledger, busiest=0).busiest == ()


def test_rules_that_are_due_often_count_at_the_instants_of_the_others(ledger: Ledger) -> None:
    for _ in range(4):
        ledger.add(cron("*/2 * * * * *"))
    for at in (1001, 1002):
        for _ in range(2):
            ledger.add(once(from_us(ledger.now + at * US)))
    assert ledger.now // US % 2 == 0
    best, second, *_ = forecast(ledger).busiest
    assert (best.count, best.instant) == (6, from_us(ledger.now + 1002 * US))
    assert second.count == 4


def test_hours_are_those_of_the_zone(ledger: Ledger) -> None:
    ledger.clock.jump((SUNDAY - ledger.now) / US)
    ledger.add(cron("30 * * * *"))
    night = [
        (hour.day, hour.hour, hour.runs) for hour in forecast(ledger, tz="Europe/Berlin").hours
    ]
    assert night[:3] == [("2027-03-28", 1, 1), ("2027-03-28", 3, 1), ("2027-03-28", 4, 1)]
    assert night[-1] == ("2027-03-29", 1, 1)
    assert len(night) == 24
    india = forecast(ledger, tz="Asia/Kolkata").hours
    assert [(hour.hour, hour.runs) for hour in india[:2]] == [(5, 0), (6, 1)]
    assert (india[0].until - india[0].since).in_minutes() == 30
    assert len(india) == 25


@pytest.mark.parametrize(
    ("day", "expected"),
    [((4, 3, 13), [0, 1, 1, 2]), ((10, 2, 14), [0, 1, 2, 3])],
)
def test_a_change_of_half_an_hour_makes_half_an_hour(
    ledger: Ledger, day: tuple[int, int, int], expected: list[int]
) -> None:
    """Lord Howe: 02:00 becomes 01:30 on 4 April, and 02:30 on 3 October."""
    start = to_us(pendulum.datetime(2027, *day, tz="UTC"))
    ledger.clock.jump((start - ledger.now) / US)
    ledger.add(every(minutes=1))
    found = forecast(ledger, tz="Australia/Lord_Howe")
    check(ledger, found)
    whole = [hour for hour in found.hours if (hour.until - hour.since).in_minutes() == 60]
    halves = [hour for hour in found.hours[1:-1] if (hour.until - hour.since).in_minutes() == 30]
    assert [hour.hour for hour in halves] == [1 if day[0] == 4 else 2]
    assert len(whole) >= 22
    hours = [hour.hour for hour in found.hours]
    start_of_day = hours.index(0)
    assert hours[start_of_day : start_of_day + 4] == expected


def test_an_hour_that_the_clock_leaves_early_ends_there(ledger: Ledger) -> None:
    """St. John's once put its clocks forward at one minute past midnight."""
    ledger.clock.jump((to_us(pendulum.datetime(2010, 3, 14, 2, 30, tz="UTC")) - ledger.now) / US)
    ledger.add(every(seconds=1))
    first, short, later, *_ = forecast(ledger, tz="America/St_Johns").hours
    assert (first.day, first.hour, first.runs) == ("2010-03-13", 23, 3599)
    assert (short.day, short.hour, short.runs) == ("2010-03-14", 0, 60)
    assert (later.day, later.hour, later.runs) == ("2010-03-14", 1, 59 * 60)


def test_more_instants_than_are_tracked_do_not_hide_the_busiest(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heat, "TRACKED", 50)
    crowd = [ledger.definition(once(from_us(ledger.now + (n + 1) * US))) for n in range(500)]
    many = [ledger.definition(cron("0 12 * * *")) for _ in range(40)]
    mixed = [*crowd[:250], *many[:20], *crowd[250:], *many[20:]]
    ledger.create(*mixed)
    assert forecast(ledger).busiest[0].count == 40


def test_a_map_of_many_events_takes_no_more_memory(ledger: Ledger) -> None:
    def peak() -> int:
        tracemalloc.start()
        forecast(ledger)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    ledger.create(*(ledger.definition(cron("0 12 * * *")) for _ in range(600)))
    peak()
    few = peak()
    ledger.create(*(ledger.definition(cron("0 12 * * *")) for _ in range(6000)))
    assert peak() < 2 * few
