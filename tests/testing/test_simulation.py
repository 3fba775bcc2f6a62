"""``simulate`` against ledgers worked out by hand."""

from __future__ import annotations

import random
from typing import Any

import pendulum
import pytest

from kalends import (
    EventNotFound,
    Fate,
    JobNotFound,
    Reason,
    Registry,
    Scheduler,
    Snooze,
    ValidationFailed,
    cron,
    every,
    once,
    weekdays,
)
from kalends.testing import EventCounts, Simulation, VirtualScheduler, simulate

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def at(minutes: float) -> pendulum.DateTime:
    return START.add(seconds=60 * minutes)


def run(minutes: float = 60, *, rule: Any = None, job: Any = "sync", **options: Any) -> Simulation:
    """Simulate one event, every ten minutes unless told, called ``ten``; policies among options."""
    policies: dict[str, Any] = {
        key: options.pop(key) for key in ("catch_up", "overlap", "delivery") if key in options
    }
    event: dict[str, Any] = {"job": job, "trigger": rule or every(minutes=10), "name": "ten"}
    event.update(policies)
    return simulate([event], START, at(minutes), **options)


def told(simulation: Simulation) -> dict[float, str]:
    """Minute by minute, gaps spelled out: the fate, or why it was skipped."""
    found = {
        (x.due - START).total_minutes(): (x.reason or x.fate).value for x in simulation.executions
    }
    (event,) = simulation.events
    for gap in simulation.gaps:
        instants = event.trigger.between(gap.first, gap.last.add(microseconds=1))
        assert gap.count == len(list(instants))
        for instant in event.trigger.between(gap.first, gap.last.add(microseconds=1)):
            minute = (instant - START).total_minutes()
            assert minute not in found
            found[minute] = (gap.reason or gap.fate).value
    return dict(sorted(found.items()))


def test_what_is_due_after_the_start_and_up_to_the_end_is_told() -> None:
    simulation = run(30)
    assert told(simulation) == {10: "succeeded", 20: "succeeded", 30: "succeeded"}
    assert simulation.counts == {"ten": EventCounts(fates={Fate.SUCCEEDED: 3}, reasons={})}
    assert simulation.counts["ten"].due == 3
    assert [entry.kind.value for entry in simulation.journal] == ["node_started", "events_created"]
    assert simulation.report().success_rate == 1.0
    assert (simulation.start, simulation.end) == (START, at(30))


def never() -> None:
    """A job nobody registered."""
    raise AssertionError("it was called")


def test_no_job_is_run_and_none_need_be_registered() -> None:
    simulation = run(20, job=never)
    assert told(simulation) == {10: "succeeded", 20: "succeeded"}
    (event,) = simulation.events
    assert event.job.endswith(":never") or event.job.endswith(".never")
    with pytest.raises(JobNotFound):
        Registry().get(event.job)


def test_durations_decide_what_overlaps() -> None:
    simulation = run(65, durations=900, overlap="skip")
    assert told(simulation) == {
        10: "succeeded",
        20: "overlap",
        30: "succeeded",
        40: "overlap",
        50: "succeeded",
        60: "overlap",
    }
    beside = run(65, durations={"ten": 900}, overlap="allow_all")
    assert told(beside) == {
        10: "succeeded", 20: "succeeded", 30: "succeeded", 40: "succeeded", 50: "succeeded",
        60: "running",
    }  # fmt: skip
    assert {x.duration for x in beside.executions} == {900.0, None}


def test_a_duration_may_depend_on_the_instant_the_attempt_and_chance() -> None:
    seen: list[tuple[float, int]] = []

    def duration(due: pendulum.DateTime, attempt: int, rng: random.Random) -> float:
        seen.append(((due - START).total_minutes(), attempt))
        return rng.uniform(1, 2)

    first = run(30, durations={"sync": duration}, seed=7)
    assert seen == [(10, 1), (20, 1), (30, 1)]
    took = [x.duration for x in run(30, durations={"sync": duration}, seed=7).executions]
    assert [x.duration for x in first.executions] == took
    assert all(1 <= seconds <= 2 for seconds in took[:2] if seconds is not None)
    assert took[0] != took[1]


@pytest.mark.parametrize(
    ("catch_up", "meanwhile"),
    [
        ("latest", ["coalesced"] * 5 + ["succeeded"]),
        ("earliest", ["succeeded"] + ["coalesced"] * 5),
        ("all", ["succeeded"] * 6),
        ("skip", ["missed"] * 6),
    ],
)
def test_an_outage_is_caught_up_with_as_the_policy_says(
    catch_up: str, meanwhile: list[str]
) -> None:
    simulation = run(140, outages=[(at(65), at(125))], catch_up=catch_up)
    expected = dict.fromkeys(range(10, 70, 10), "succeeded")
    expected |= dict(zip(range(70, 130, 10), meanwhile, strict=True))
    assert told(simulation) == {**expected, 130: "succeeded", 140: "succeeded"}
    late = [x.attempts[0].started_at for x in simulation.executions if x.lateness]
    assert all(begun is not None and begun >= at(125) for begun in late)
    kinds = [entry.kind.value for entry in simulation.journal]
    assert kinds == ["node_started", "events_created", "downtime", "node_started", "node_died"]


@pytest.mark.parametrize(
    ("delivery", "outcome", "attempts"),
    [("at_least_once", "succeeded", ["lost", "succeeded"]), ("at_most_once", "lost", ["lost"])],
)
def test_what_ran_when_the_outage_began_is_attempted_again_or_lost(
    delivery: str, outcome: str, attempts: list[str]
) -> None:
    simulation = run(19, durations=300, outages=[(at(12), at(13))], delivery=delivery)
    (execution,) = simulation.executions
    assert execution.fate == outcome
    assert [attempt.outcome.value for attempt in execution.attempts] == attempts


def test_a_failure_is_tried_again_as_the_policy_says() -> None:
    event = {"job": "mail", "trigger": once(at(10)), "name": "m", "retries": 3, "retry_delay": 60.0}
    twice = simulate([event], START, at(60), failures=lambda due, attempt, rng: attempt <= 2)
    (execution,) = twice.executions
    assert execution.fate == "succeeded"
    outcomes = [attempt.outcome.value for attempt in execution.attempts]
    assert outcomes == ["failed", "failed", "succeeded"]
    begun = [attempt.started_at for attempt in execution.attempts]
    assert begun[0] == at(10)
    assert begun[2] is not None
    assert begun[2] > at(12)
    given_up = simulate([event], START, at(600), failures={"mail": 1.0})
    assert given_up.counts["m"].reasons == {Reason.EXHAUSTED: 1}


def test_what_a_job_may_ask_for_can_be_played() -> None:
    event = {"job": "mail", "trigger": once(at(10)), "name": "m"}
    snoozed = simulate(
        [event],
        START,
        at(60),
        failures=lambda due, attempt, rng: Snooze(600) if attempt == 1 else None,
    )
    (execution,) = snoozed.executions
    assert execution.fate == "succeeded"
    assert execution.attempts[-1].started_at == at(20)


def test_failures_may_be_a_chance_an_error_or_a_decision() -> None:
    assert set(told(run(60, failures=1.0)).values()) == {"failed"}
    assert set(told(run(60, failures={"sync": 0})).values()) == {"succeeded"}
    some = run(6000, failures=0.25, seed=3).counts["ten"].fates
    assert 100 < some[Fate.FAILED] < 200
    mishap = run(10, failures={"ten": ConnectionError("no route")}).executions[0]
    assert mishap.error is not None
    assert (mishap.error.type, mishap.error.message) == ("ConnectionError", "no route")
    third = run(30, failures=lambda due, attempt, rng: due == at(30))
    assert told(third) == {10: "succeeded", 20: "succeeded", 30: "failed"}
    raised = run(10, failures=lambda due, attempt, rng: KeyError("k")).executions[0]
    assert raised.error is not None
    assert raised.error.type == "KeyError"


def test_one_more_event_changes_nothing_for_the_others() -> None:
    def fates(*names: str) -> list[str]:
        events = [{"job": "sync", "trigger": every(minutes=10), "name": name} for name in names]
        simulation = simulate(events, START, at(600), failures=0.5)
        return [x.fate.value for x in simulation.of("a")]

    assert fates("a") == fates("a", "b", "c")
    assert set(fates("a")) == {"succeeded", "failed"}


def test_a_daylight_saving_night_runs_once_at_either_end() -> None:
    night = cron("30 2 * * *", tz="Europe/Oslo")
    spring = pendulum.datetime(2027, 3, 27, 12, tz="Europe/Oslo")
    (gap,) = simulate(
        [{"job": "night", "trigger": night, "name": "n"}], spring, spring.add(days=1)
    ).executions
    assert gap.due == pendulum.datetime(2027, 3, 28, 3, tz="Europe/Oslo")
    autumn = pendulum.datetime(2027, 10, 30, 12, tz="Europe/Oslo")
    (fold,) = simulate(
        [{"job": "night", "trigger": night, "name": "n"}], autumn, autumn.add(days=1)
    ).executions
    assert fold.due == pendulum.datetime(2027, 10, 31, 0, 30, tz="UTC")


def test_every_verb_of_a_scheduler_answers_and_nothing_runs_any_more() -> None:
    simulation = run(30)
    scheduler = simulation.scheduler
    before = simulation.dump()
    assert scheduler.count_executions(fate="succeeded") == 3
    assert scheduler.preview(simulation.events[0].id, 1) == (at(40),)
    scheduler.advance(86_400)
    assert simulation.dump() == before
    assert scheduler.count_executions() == 3


def test_equal_arguments_give_equal_ledgers() -> None:
    options: dict[str, Any] = {
        "failures": 0.3,
        "durations": lambda due, attempt, rng: rng.uniform(0, 1200),
        "outages": [(at(65), at(125))],
    }
    first, second = run(600, seed="x", **options), run(600, seed="x", **options)
    assert first.dump() == second.dump()
    assert first.dump() != run(600, seed="y", **options).dump()


def test_a_schedulers_events_are_copied_and_it_is_only_read(registry: Registry) -> None:
    registry.register(lambda number, *, b: None, "sum")
    with VirtualScheduler(registry=registry, start=START) as real:
        kept = real.schedule_event(
            "sum", cron("0 9 * * *") - weekdays("sat", "sun"), name="kept", overlap="allow_all",
            args=(1,), kwargs={"b": [2]}, tags=["x"], catch_up_window=60.0,
        )  # fmt: skip
        paused = real.schedule_event("boom", every(hours=1, anchor=START), name="paused")
        real.pause_event(paused.id, note="moving", until=START.add(days=2))
        real.schedule_event("tick", once(START.add(minutes=1)), name="over")
        real.advance(120)
        before = real.dump()
        simulation = simulate(real, START.add(days=1), START.add(days=8))
        assert real.dump() == before
    names = {event.name: event for event in simulation.events}
    assert set(names) == {"kept", "paused"}
    for field in ("job", "args", "kwargs", "trigger", "policies", "tags"):
        assert getattr(names["kept"], field) == getattr(kept, field)
    assert simulation.counts["kept"].fates == {Fate.SUCCEEDED: 5}
    counted = simulation.counts["paused"]
    assert counted.reasons == {Reason.PAUSED: 23}
    assert counted.fates == {Fate.SUCCEEDED: 145, Fate.SKIPPED: 23}


def test_a_threaded_schedulers_events_can_be_copied(make_virtual: Any) -> None:
    real = make_virtual().start()
    real.scheduler.schedule_event("tick", every(minutes=10), name="ten")
    assert isinstance(real.scheduler, Scheduler)
    assert told(simulate(real.scheduler, START, at(20))) == {10: "succeeded", 20: "succeeded"}
    assert real.ran == []


def test_it_prints_a_table() -> None:
    simulation = run(65, durations=900, overlap="skip")
    assert str(simulation).splitlines() == [
        "event  due  what became of it",
        "ten      6  3 succeeded, 3 skipped (3 overlap)",
    ]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"outages": [(at(10), at(10))]}, "outages[0]"),
        ({"outages": [(at(10), at(20)), (at(15), at(30))]}, "outages[1]"),
        ({"outages": [(at(10), at(90))]}, "outages[0]"),
        ({"outages": [at(10)]}, "outages[0]"),
        ({"durations": -1}, "durations"),
        ({"durations": {"ten": True}}, "durations.ten"),
        ({"durations": lambda due, attempt, rng: "long"}, None),
        ({"durations": {"tne": 1}}, "durations.tne"),
        ({"failures": 1.5}, "failures"),
        ({"failures": {"snyc": 0.5}}, "failures.snyc"),
        ({"failures": ValueError}, "failures"),
        ({"seed": 1.5}, "seed"),
        ({"minutes": 0}, "end"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], path: str | None) -> None:
    if path is None:
        # It comes to light inside, where the script is asked.
        with pytest.raises(ValidationFailed, match="durations must be seconds"):
            run(**options)
        return
    with pytest.raises(ValidationFailed) as caught:
        run(**options)
    assert caught.value.details["path"] == path


def test_an_event_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(EventNotFound, match="did you mean 'ten'"):
        run(10).of("tne")
