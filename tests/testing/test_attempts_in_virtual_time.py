"""Attempts of one execution in virtual time, against a model that plays them on paper."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pendulum
from hypothesis import given, settings
from hypothesis import strategies as st

from kalends import Execution, Policies, Registry, once
from kalends.clock import US
from kalends.retrying import backoff_us
from kalends.testing import VirtualScheduler

START = pendulum.datetime(2027, 1, 1, tz="UTC")
DUE = START.add(hours=1)
Told = list[tuple[float, float | None, str]]
"""When each attempt began and ended, in seconds from the due instant, and its outcome."""


class Play(msgspec.Struct, frozen=True):
    """How one attempt would go if nobody interfered."""

    seconds: int
    error: str | None


ERRORS: dict[str, type[Exception]] = {"OSError": OSError, "KeyError": KeyError}
NAMES = {"OSError": {"OSError", "Exception"}, "KeyError": {"KeyError", "LookupError", "Exception"}}
NAMES["TimeoutError"] = {"TimeoutError", "OSError", "Exception"}


def on_paper(policies: Policies, plays: list[Play], execution_id: str) -> tuple[Told, str | None]:
    """Every attempt, and the reason of the last one."""
    told: Told = []
    at = 0.0
    for number, play in enumerate(plays, start=1):
        seconds, error = float(play.seconds), play.error
        if policies.timeout is not None and seconds >= policies.timeout:
            seconds, error = policies.timeout, "TimeoutError"
        outcome = {None: "succeeded", "TimeoutError": "timed_out"}.get(error, "failed")
        told.append((at, at + seconds, outcome))
        if error is None or not policies.retries:
            return told, None
        if NAMES[error] & set(policies.give_up_on):
            return told, None
        if policies.retry_on and not NAMES[error] & set(policies.retry_on):
            return told, None
        if number > policies.retries:
            return told, "exhausted"
        at += seconds + backoff_us(policies, number, f"{execution_id}\n{number}") / US
    raise AssertionError("the plays have run out")


def told_of(execution: Execution) -> Told:
    def seconds(at: pendulum.DateTime | None) -> float | None:
        return None if at is None else (at - DUE).total_seconds()

    return [
        (seconds(item.started_at) or 0.0, seconds(item.ended_at), item.outcome.value)
        for item in execution.attempts
    ]


errors = st.sampled_from([None, "OSError", "OSError", "KeyError"])
plays = st.builds(Play, st.integers(0, 120), errors)
policies = st.fixed_dictionaries(
    {
        "retries": st.integers(0, 5),
        "retry_delay": st.sampled_from([0.0, 1.0, 30.0]),
        "retry_backoff": st.sampled_from(["constant", "linear", "exponential"]),
        "retry_max_delay": st.sampled_from([20.0, 3600.0]),
        "retry_jitter": st.sampled_from([0.0, 0.1, 1.0]),
        "retry_on": st.sampled_from([[], ["OSError"], ["LookupError", "TimeoutError"]]),
        "give_up_on": st.sampled_from([[], [], ["KeyError"], ["TimeoutError"]]),
        "timeout": st.sampled_from([None, 60.5, 90.5]),
    }
)


@settings(max_examples=60)
@given(chosen=policies, script=st.lists(plays, min_size=7, max_size=7))
def test_attempts_go_as_the_policies_say(chosen: dict[str, Any], script: list[Play]) -> None:
    def lasts(due: pendulum.DateTime, attempt: int, rng: random.Random) -> float:
        return float(script[attempt - 1].seconds)

    def fails(due: pendulum.DateTime, attempt: int, rng: random.Random) -> BaseException | None:
        error = script[attempt - 1].error
        return None if error is None else ERRORS[error]()

    registry = Registry()
    registry.register(lambda: None, "work")
    with VirtualScheduler(
        start=START, registry=registry, durations=lasts, failures=fails
    ) as scheduler:
        event = scheduler.schedule_event("work", once(DUE), **chosen)
        scheduler.advance_to(DUE.add(hours=10))
        (execution,) = scheduler.list_executions(event_id=event.id).items
        told, reason = on_paper(event.policies, script, execution.id)
        assert [(round(a, 6), round(b or 0, 6), how) for a, b, how in told_of(execution)] == [
            (round(a, 6), round(b or 0, 6), how) for a, b, how in told
        ]
        assert execution.reason == reason
        assert not execution.still_running, "by now every job has ended"
        assert scheduler.verify().ok
