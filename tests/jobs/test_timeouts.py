"""Jobs that take longer than they may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from kalends import current
from kalends.clock import US, SystemClock, from_us
from kalends.model import Failure, Fate
from kalends.testing import ManualClock

Make = Callable[..., Any]
START = 1_800_000_000 * US


class Slow:
    """A job that runs until it is let go, and what it saw."""

    def __init__(self, rig: Any) -> None:
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.seen: list[tuple[bool, object]] = []
        rig.job("slow")(self.run)

    def run(self) -> str:
        self.seen.append((current().cancelled, current().deadline))
        self.begun.release()
        assert self.gate.wait(10)
        self.seen.append((current().cancelled, current().deadline))
        return "late"

    def wait(self) -> None:
        assert self.begun.acquire(timeout=10)


def submit(rig: Any, claim: Make, slow: Slow, **fields: Any) -> None:
    rig.runner.submit([claim("x1", **{"event_id": "e", "job": "slow", "due": START, **fields})])
    slow.wait()


def told(rig: Any, claim: Make) -> list[Fate]:
    """How everything but this question has ended: whatever has to happen by now has happened."""
    number = len(rig.outbox)
    rig.runner.submit([claim(f"question-{number}", due=START)])
    return [item.fate for item in rig.wait(number + 1) if "question" not in item.execution_id]


def test_at_its_deadline_a_job_has_timed_out_and_when_it_ends_that_is_told_too(
    make_rig: Make, claim: Make
) -> None:
    clock = ManualClock(START)
    rig = make_rig(clock)
    slow = Slow(rig)
    submit(rig, claim, slow, timeout_us=30 * US)
    clock.advance(29.999999)
    assert told(rig, claim) == []
    clock.advance(0.000001)
    outcome = rig.wait(2)[1]
    assert (outcome.fate, outcome.started_us, outcome.ended_us) == (
        Fate.TIMED_OUT,
        START,
        START + 30 * US,
    )
    assert outcome.error == Failure(type="TimeoutError", message="took longer than 30 seconds")
    assert {"TimeoutError", "builtins.TimeoutError", "OSError"} <= set(outcome.kinds)
    assert (outcome.still_running, outcome.late) == (True, False)
    assert (rig.runner.in_flight, rig.runner.runs("x1")) == (0, True)
    clock.advance(5.0)
    slow.gate.set()
    late = rig.wait(3)[2]
    assert (late.execution_id, late.attempt, late.late) == ("x1", 1, True)
    assert slow.seen == [
        (False, from_us(START + 30 * US)),
        (True, from_us(START + 30 * US)),
    ]
    assert not rig.runner.runs("x1")


def test_a_job_that_ends_in_time_has_not_timed_out(make_rig: Make, claim: Make) -> None:
    clock = ManualClock(START)
    rig = make_rig(clock)
    slow = Slow(rig)
    submit(rig, claim, slow, timeout_us=30 * US)
    clock.advance(29.999999)
    slow.gate.set()
    assert rig.wait(1)[0].fate is Fate.SUCCEEDED
    clock.advance(100.0)
    assert told(rig, claim) == [Fate.SUCCEEDED]


def test_a_job_without_a_time_out_takes_as_long_as_it_likes(make_rig: Make, claim: Make) -> None:
    clock = ManualClock(START)
    rig = make_rig(clock)
    slow = Slow(rig)
    submit(rig, claim, slow)
    clock.advance(1e9)
    assert told(rig, claim) == []
    slow.gate.set()
    assert rig.wait(2)[1].fate is Fate.SUCCEEDED
    assert slow.seen[0] == (False, None)


def test_the_wall_clock_times_nothing_out_and_puts_nothing_off(make_rig: Make, claim: Make) -> None:
    clock = ManualClock(START)
    rig = make_rig(clock)
    slow = Slow(rig)
    submit(rig, claim, slow, timeout_us=30 * US)
    clock.jump(86_400.0)
    clock.advance(29.0)
    assert told(rig, claim) == []
    clock.jump(-3 * 86_400.0)
    clock.advance(1.0)
    outcome = rig.wait(2)[1]
    assert outcome.fate is Fate.TIMED_OUT
    assert outcome.ended_us == outcome.started_us == START, "no duration is negative"
    slow.gate.set()
    rig.wait(3)


def test_what_has_timed_out_frees_its_slot_and_its_line(make_rig: Make, claim: Make) -> None:
    clock = ManualClock(START)
    rig = make_rig(clock, 1)
    slow = Slow(rig)
    submit(rig, claim, slow, timeout_us=30 * US)
    rig.runner.submit([claim("next", event_id="e", due=START), claim("other", due=START)])
    clock.advance(30.0)
    ended = {outcome.execution_id: outcome.fate for outcome in rig.wait(3)}
    assert ended == {"x1": Fate.TIMED_OUT, "next": Fate.SUCCEEDED, "other": Fate.SUCCEEDED}
    slow.gate.set()
    rig.wait(4)


def test_in_real_time_a_deadline_is_met_while_nothing_else_is_expected(
    rig: Any, claim: Make
) -> None:
    slow = Slow(rig)
    real = SystemClock()
    begun = real.monotonic()
    submit(rig, claim, slow, due=0, timeout_us=US // 20)
    (outcome,) = rig.wait(1)
    assert outcome.fate is Fate.TIMED_OUT
    assert real.monotonic() - begun >= 0.05
    slow.gate.set()
    rig.wait(2)


def test_a_shutdown_that_waits_for_jobs_still_times_them_out(make_rig: Make, claim: Make) -> None:
    clock = ManualClock(START)
    rig = make_rig(clock)
    slow = Slow(rig)
    submit(rig, claim, slow, timeout_us=30 * US)
    rig.runner.halt()
    abandoned: list[Any] = []
    stopping = threading.Thread(target=lambda: abandoned.extend(rig.runner.stop(20)))
    stopping.start()
    clock.advance(30.0)
    assert rig.wait(1)[0].fate is Fate.TIMED_OUT
    slow.gate.set()
    stopping.join(20)
    assert (stopping.is_alive(), abandoned) == (False, [])


def test_a_time_out_is_logged_as_a_failure(
    make_rig: Make, claim: Make, logged: list[dict[str, Any]]
) -> None:
    clock = ManualClock(START)
    rig = make_rig(clock)
    slow = Slow(rig)
    submit(rig, claim, slow, timeout_us=500_000)
    clock.advance(0.5)
    rig.wait(1)
    slow.gate.set()
    rig.wait(2)
    told = [entry["error"] for entry in logged if entry["event"] == "execution_failed"]
    assert told == ["TimeoutError: took longer than 0.5 seconds"]
