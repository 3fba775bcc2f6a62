"""What is to happen to tasks, and when."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kalends.clock import US
from kalends.jobs.agenda import Agenda
from kalends.jobs.executors.base import Task
from kalends.jobs.lines import State
from kalends.testing import ManualClock
from kalends.work import Claim

START = 1_800_000_000 * US


def task(due: float = 0.0, **fields: Any) -> Task:
    claim = Claim(
        id="x", event_id="e", event_name="e", job="j", arguments="{}", attempt=1, version=1,
        serial=True, due=START + round(due * US), **fields,
    )  # fmt: skip
    return Task(claim, None, None)  # type: ignore[arg-type]  # nobody asks for the owner


def test_what_is_armed_is_taken_at_its_instant_in_order() -> None:
    clock = ManualClock(START)
    agenda = Agenda(clock)
    late, soon, delayed = task(5.0), task(2.0), task(1.0, delay_us=3 * US)
    for item in (late, soon, delayed):
        agenda.arm(item)
    assert (agenda.take_due(), agenda.next_begin()) == ([], START + 2 * US)
    clock.advance(4.0)
    assert (agenda.take_due(), agenda.next_begin()) == ([soon, delayed], START + 5 * US)
    clock.advance(1.0)
    assert (agenda.take_due(), agenda.next_begin()) == ([late], None)


def test_what_is_armed_for_one_instant_is_taken_as_it_came_without_what_was_taken_back() -> None:
    clock = ManualClock(START)
    agenda = Agenda(clock)
    first, gone, last = task(1.0), task(1.0), task(1.0)
    for item in (first, gone, last):
        agenda.arm(item)
    gone.state = State.GONE
    assert (agenda.take_due(), agenda.next_begin()) == ([], START + US)
    clock.advance(1.0)
    assert (agenda.take_due(), agenda.next_begin()) == ([first, last], None)


def test_what_was_taken_back_is_forgotten() -> None:
    agenda = Agenda(ManualClock(START))
    gone, armed = task(1.0), task(2.0)
    agenda.arm(gone)
    agenda.arm(armed)
    gone.state = State.GONE
    assert (agenda.take_due(), agenda.next_begin()) == ([], START + 2 * US)


def test_a_deadline_passes_with_monotonic_time_wherever_the_wall_clock_is_set() -> None:
    clock = ManualClock(START)
    agenda = Agenda(clock)
    first, second = task(), task()
    agenda.limit(second, 20 * US)
    agenda.limit(first, 10 * US)
    assert agenda.next_deadline() == START + 10 * US
    clock.jump(3600.0)
    assert (agenda.take_overdue(), agenda.next_deadline()) == ([], START + 3610 * US)
    clock.advance(9.999999)
    assert agenda.take_overdue() == []
    clock.advance(0.000001)
    clock.jump(-7200.0)
    assert agenda.take_overdue() == [first]
    assert agenda.take_overdue() == [], "it is told once"
    assert agenda.next_deadline() == clock.now_us() + 10 * US


def test_a_deadline_is_exact_however_odd_the_steps_of_the_clock() -> None:
    clock = ManualClock(START)
    agenda = Agenda(clock)
    clock.advance(0.1)
    limited = task()
    agenda.limit(limited, 300_000)
    for _ in range(2):
        clock.advance(0.1)
        assert agenda.take_overdue() == []
    clock.advance(0.1)
    assert agenda.take_overdue() == [limited]


def test_what_has_ended_has_no_deadline() -> None:
    clock = ManualClock(START)
    agenda = Agenda(clock)
    ended, runs, unlimited = task(), task(), task()
    agenda.limit(ended, US)
    agenda.limit(runs, 2 * US)
    agenda.lift(ended)
    agenda.lift(unlimited)
    assert agenda.next_deadline() == START + 2 * US
    clock.advance(5.0)
    assert agenda.take_overdue() == [runs]
    assert agenda.next_deadline() is None


def test_short_jobs_of_a_long_time_out_leave_nothing_behind() -> None:
    agenda = Agenda(ManualClock(START))
    running: list[Task] = []
    for _ in range(20_000):
        running.append(task())
        agenda.limit(running[-1], 3600 * US)
        if len(running) > 10:
            agenda.lift(running.pop(0))
        assert len(agenda._timeouts._heap) <= 2 * 11 + 65


@given(st.lists(st.tuples(st.sampled_from("lea"), st.integers(1, 20)), max_size=60))
def test_deadlines_agree_with_a_list_that_is_searched(steps: list[tuple[str, int]]) -> None:
    clock = ManualClock(START)
    agenda = Agenda(clock)
    model: list[tuple[int, int, Task]] = []
    now, rng = 0, random.Random(1)
    for number, (what, amount) in enumerate(steps):
        if what == "l":
            model.append((now + amount, number, task()))
            agenda.limit(model[-1][2], amount * US)
        elif what == "e" and model:
            agenda.lift(model.pop(rng.randrange(len(model)))[2])
        else:
            clock.advance(amount)
            now += amount
        overdue = sorted(entry for entry in model if entry[0] <= now)
        model = [entry for entry in model if entry[0] > now]
        assert agenda.take_overdue() == [item for _, _, item in overdue]
        first = min((at for at, _, _ in model), default=None)
        assert agenda.next_deadline() == (None if first is None else START + first * US)
