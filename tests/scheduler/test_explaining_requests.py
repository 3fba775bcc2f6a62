"""What ``explain`` says of what somebody asked for, and of what waits for a place of a limit."""

from __future__ import annotations

from collections.abc import Iterator

import pendulum
import pytest

from kalends import Explanation, JournalKind, Registry, Standing, every
from kalends.testing import VirtualScheduler

START = pendulum.datetime(2027, 1, 1, tz="UTC")
HOURLY = every(hours=1, anchor=START)


def at(minutes: float) -> pendulum.DateTime:
    return START.add(seconds=round(minutes * 60))


def kinds(found: Explanation) -> list[JournalKind]:
    return [entry.kind for entry in found.journal]


@pytest.fixture
def jobs() -> Registry:
    registry = Registry()
    registry.register(lambda: None, "work")
    return registry


@pytest.fixture
def scheduler(jobs: Registry) -> Iterator[VirtualScheduler]:
    with VirtualScheduler(registry=jobs, start=START) as made:
        yield made


def test_an_instant_that_was_moved_names_who_moved_it(scheduler: VirtualScheduler) -> None:
    event = scheduler.schedule_event("work", HOURLY, name="tick")
    scheduler.move_next(event.id, at(90), author="ada", note="stocktaking")
    scheduler.update_event(event.id, note="between", author="bob")
    told = "It was moved to 2027-01-01T01:30:00Z by ada at 2027-01-01T00:00:00Z: stocktaking."
    assert told in scheduler.explain(event.id, at(60)).sentences
    scheduler.advance(7200)
    found = scheduler.explain(event.id, at(60))
    assert (found.standing, told in found.sentences) == (Standing.RAN, True)
    assert JournalKind.EVENT_MOVED in kinds(found)


def test_what_was_moved_under_a_rule_of_before_says_so(scheduler: VirtualScheduler) -> None:
    event = scheduler.schedule_event("work", HOURLY, name="tick")
    scheduler.move_next(event.id, at(10), author="ada")
    scheduler.advance(900)
    scheduler.update_event(event.id, trigger=every(hours=5, anchor=START))
    found = scheduler.explain(event.id, at(60))
    assert found.sentences[:2] == (
        "tick was due at 2027-01-01T01:00:00Z by a rule that it has no longer.",
        "It was moved to 2027-01-01T00:10:00Z by ada at 2027-01-01T00:00:00Z.",
    )


def test_an_instant_that_was_left_out_names_who_left_out_that_one(
    scheduler: VirtualScheduler,
) -> None:
    event = scheduler.schedule_event("work", HOURLY, name="tick")
    scheduler.skip_next(event.id, author="ada", note="stocktaking")
    scheduler.advance(60)
    scheduler.skip_next(event.id, author="bob")  # the instant that follows: one row with the first
    for author, minutes, note in (("ada", 60, ": stocktaking"), ("bob", 120, "")):
        found = scheduler.explain(event.id, at(minutes))
        entry = next(each for each in found.journal if each.author == author)
        told = f"At {entry.at.isoformat().replace('+00:00', 'Z')} it was left out by {author}{note}"
        assert f"{told}." in found.sentences
        assert len([each for each in found.sentences if "left out by" in each]) == 1


def test_an_execution_that_was_asked_for_names_who_asked_and_how(
    scheduler: VirtualScheduler,
) -> None:
    event = scheduler.schedule_event("work", HOURLY, name="tick")
    scheduler.advance(60)
    asked = scheduler.trigger_now(event.id, author="ada", overlap="allow_all")
    scheduler.trigger_now(event.id, author="bob")
    found = scheduler.explain(event.id, asked.due)
    assert found.sentences[0] == (
        "An execution of tick was asked for by ada at 2027-01-01T00:01:00Z, outside of its rule, "
        "with overlap='allow_all'."
    )
    assert "ada" in [entry.author for entry in found.journal if entry.kind == "event_triggered"]


def test_what_a_backfill_ran_names_whose_it_was(scheduler: VirtualScheduler) -> None:
    event = scheduler.schedule_event("work", HOURLY, name="tick")
    scheduler.advance(60)
    plan = scheduler.backfill(event.id, at(-180), at(0), author="ada", note="the lost night")
    scheduler.advance(86_400)
    found = scheduler.explain(event.id, at(-120))
    assert (
        "It belongs to a backfill, asked for by ada at 2027-01-01T00:01:00Z: the lost night."
        in found.sentences
    )
    assert plan.id in [entry.id for entry in found.journal]


def test_what_waits_for_a_limit_names_who_holds_its_places(jobs: Registry) -> None:
    with VirtualScheduler(
        registry=jobs, start=START, durations=600.0, concurrency_limits={"db": 2, "big": 9}
    ) as scheduler:
        events = {
            name: scheduler.schedule_event("work", HOURLY, name=name, concurrency_limit="db")
            for name in ("a", "b", "c")
        }
        lone = scheduler.schedule_event("work", HOURLY, name="lone", concurrency_limit="big")
        future = scheduler.explain(events["c"].id, at(60))
        assert (
            "It will need a place of the limit 'db' (2 places): whether one is free is known then."
            in future.sentences
        )
        scheduler.advance(3660)
        found = scheduler.explain(events["c"].id, at(60))
        assert found.standing is Standing.WAITING
        assert (
            "It waits for a place of the limit 'db': 2 of 2 places held, by a (for "
            "2027-01-01T01:00:00Z) and b (for 2027-01-01T01:00:00Z)." in found.sentences
        )
        assert found.limit is not None
        assert (found.limit.name, found.limit.places, found.limit.held) == ("db", 2, 2)
        assert [(one.event_id, one.due) for one in found.limit.holders] == [
            (events["a"].id, at(60)), (events["b"].id, at(60)),
        ]  # fmt: skip
        with scheduler.peer(enabled=False, concurrency_limits={}) as stranger:
            told = stranger.explain(events["c"].id, at(60)).sentences
            assert any("settings lack, 2 places are held, by a (for" in each for each in told)
        assert scheduler.explain(lone.id, at(60)).limit is None  # it runs
        asked = scheduler.trigger_now(events["c"].id)  # written down to wait
        assert asked.node is None
        told = scheduler.explain(events["c"].id, asked.due).sentences
        assert any("It waits for a place of the limit 'db'" in each for each in told)


def test_a_limit_that_has_room_is_not_said_to_hold_up_anything(jobs: Registry) -> None:
    with VirtualScheduler(
        registry=jobs, start=START, durations=600.0, concurrency_limits={"db": 2}
    ) as scheduler:
        rule = every(minutes=5, anchor=START)
        event = scheduler.schedule_event(
            "work", rule, name="a", concurrency_limit="db", overlap="buffer_all"
        )
        scheduler.advance(660)
        found = scheduler.explain(event.id, at(10))
        assert found.standing is Standing.PENDING
        assert (
            "The limit 'db' has room: 1 of 2 places held, by a (for 2027-01-01T00:05:00Z)."
            in found.sentences
        )


def test_more_holders_than_a_sentence_bears_are_counted(jobs: Registry) -> None:
    with VirtualScheduler(
        registry=jobs, start=START, durations=600.0, concurrency_limits={"db": 5}
    ) as scheduler:
        for number in range(6):
            event = scheduler.schedule_event(
                "work", HOURLY, name=f"e{number}", concurrency_limit="db"
            )
        scheduler.advance(3660)
        (told,) = [
            each for each in scheduler.explain(event.id, at(60)).sentences if "place" in each
        ]
        assert told.count("(for ") == 3
        assert told.endswith(" and 2 others.")


def test_a_pause_that_is_over_is_not_said_to_end(jobs: Registry) -> None:
    with VirtualScheduler(registry=jobs, start=START) as scheduler:
        event = scheduler.schedule_event("work", HOURLY, name="tick")
        scheduler.pause_event(event.id, until=at(90))
        reader = scheduler.reader()
        with reader:
            assert (
                "The pause ends at 2027-01-01T01:30:00Z: it will be skipped as paused."
                in reader.explain(event.id, at(60)).sentences
            )
            scheduler.kill()
            reader.advance(36_000)
            told = reader.explain(event.id, at(120)).sentences
            assert "The pause was over at 2027-01-01T01:30:00Z: it is due now." in told
            assert "No process runs events of this database now: nobody has lifted it." in told
