"""The runner: at its instant, once, in order, and given back when asked."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalends.clock import SystemClock
from kalends.errors import NotInitialized
from kalends.jobs.context import current
from kalends.model import Fate
from kalends.testing import ManualClock

Make = Callable[..., Any]


# -- when ----------------------------------------------------------------------------------------


def test_a_due_claim_runs_and_its_outcome_is_in_the_outbox(rig: Any, claim: Make) -> None:
    rig.job("double")(lambda n: 2 * n)
    assert rig.runner.submit([claim(job="double", arguments='{"args":[4],"kwargs":{}}')]) == 1
    (outcome,) = rig.wait(1)
    assert (outcome.fate, outcome.result) == (Fate.SUCCEEDED, "8")
    assert rig.runner.in_flight == 0


def test_no_claim_begins_before_it_is_due_and_none_much_later(rig: Any, claim: Make) -> None:
    clock = SystemClock()
    start = clock.now_us()
    dues = {f"x{n}": start + random.Random(n).randrange(300_000) for n in range(100)}
    rig.runner.submit([claim(id, due=due) for id, due in dues.items()])
    late = [outcome.started_us - dues[outcome.execution_id] for outcome in rig.wait(100)]
    assert min(late) >= 0
    assert sorted(late)[50] < 100_000


def test_an_earlier_claim_wakes_the_ticker_that_waits_for_a_later_one(
    rig: Any, claim: Make
) -> None:
    now = SystemClock().now_us()
    rig.runner.submit([claim("late", due=now + 3_600_000_000)])
    rig.runner.submit([claim("early", due=now + 30_000)])
    assert [outcome.execution_id for outcome in rig.wait(1)] == ["early"]
    assert rig.runner.in_flight == 1


def test_with_a_clock_moved_by_hand_claims_begin_when_it_is_moved(
    make_rig: Make, claim: Make
) -> None:
    clock = ManualClock(0)
    rig = make_rig(clock)
    rig.runner.submit([claim("a", due=1_000_000), claim("b", due=2_000_000)])
    clock.advance(0.999999)
    assert rig.runner.in_flight == 2
    clock.advance(0.000001)
    (outcome,) = rig.wait(1)
    assert (outcome.execution_id, outcome.started_us) == ("a", 1_000_000)
    clock.jump(3600)
    assert rig.wait(2)[1].execution_id == "b"


def test_claims_submitted_before_start_run_after_it(claim: Make, make_rig: Make) -> None:
    rig = type(make_rig(SystemClock()))(SystemClock())
    rig.runner.submit([claim()])
    assert rig.runner.running() == []
    assert len(rig.outbox) == 0
    rig.runner.start()
    rig.runner.start()
    rig.wait(1)
    rig.runner.stop(10)


# -- once ----------------------------------------------------------------------------------------


def test_a_claim_that_is_here_or_not_yet_recorded_is_not_taken_twice(rig: Any, claim: Make) -> None:
    due = SystemClock().now_us() + 3_600_000_000
    assert rig.runner.submit([claim("a", due=due), claim("a", due=due)]) == 1
    assert rig.runner.submit([claim("b")]) == 1
    rig.wait(1)
    assert rig.runner.submit([claim("b")]) == 0
    assert rig.runner.submit([claim("b", attempt=2)]) == 1
    rig.wait(2)
    rig.outbox.drop(2)
    assert rig.runner.submit([claim("b")]) == 1
    rig.wait(1)


# -- serial --------------------------------------------------------------------------------------


def test_serial_claims_of_one_event_run_one_after_the_other_in_order(rig: Any, claim: Make) -> None:
    inside = 0
    most = 0
    pause = threading.Event()

    def slow() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        pause.wait(0.002)
        inside -= 1

    rig.job("slow")(slow)
    rig.runner.submit([claim(f"x{n}", event_id="e", job="slow", due=n) for n in range(30)])
    assert [outcome.execution_id for outcome in rig.wait(30)] == [f"x{n}" for n in range(30)]
    assert most == 1


def test_claims_of_other_events_and_those_not_serial_run_beside_it(rig: Any, claim: Make) -> None:
    barrier = threading.Barrier(3)

    def meet() -> None:
        barrier.wait(10)

    rig.job("meet")(meet)
    rig.runner.submit(
        [
            claim("a", event_id="e", job="meet"),
            claim("b", event_id="f", job="meet"),
            claim("c", event_id="e", job="meet", serial=False),
        ]
    )
    assert [outcome.fate for outcome in rig.wait(3)] == [Fate.SUCCEEDED] * 3


def test_a_serial_line_goes_on_behind_claims_that_fail_or_cannot_be_run(
    rig: Any, claim: Make
) -> None:
    rig.job("bad")(lambda: 1 / 0)
    jobs = ["bad", "missing", "noop", "missing", "bad", "noop"]
    rig.runner.submit([claim(f"x{n}", event_id="e", job=job) for n, job in enumerate(jobs)])
    outcomes = rig.wait(4, unrunnable=2)
    assert [outcome.execution_id for outcome in outcomes] == ["x0", "x2", "x4", "x5"]
    assert rig.runner.in_flight == 0


def test_a_long_line_of_claims_that_cannot_be_run_is_no_recursion(rig: Any, claim: Make) -> None:
    rig.runner.submit([claim(f"x{n}", event_id="e", job="missing") for n in range(3000)])
    rig.wait(0, unrunnable=3000)


# -- what cannot be run --------------------------------------------------------------------------


def test_an_unknown_job_is_reported_with_the_near_name_and_is_no_outcome(
    rig: Any, claim: Make
) -> None:
    rig.runner.submit([claim(job="nop")])
    rig.wait(unrunnable=1)
    (reported, error) = rig.unrunnable[0]
    assert (reported.id, error.code) == ("x1", "JOB_NOT_FOUND")
    assert "'noop'" in error.message
    assert len(rig.outbox) == 0


def test_arguments_that_cannot_be_read_are_reported(rig: Any, claim: Make) -> None:
    rig.runner.submit([claim(arguments="{")])
    rig.wait(unrunnable=1)
    assert rig.unrunnable[0][1].code == "VALIDATION_FAILED"
    assert rig.runner.newly_begun() == []


def test_a_job_for_an_executor_that_is_not_there_is_reported(rig: Any, claim: Make) -> None:
    rig.registry.register(lambda: 1, "elsewhere", "threads")
    rig.runner.submit([claim(job="elsewhere")])
    rig.wait(unrunnable=1)
    assert "did you mean 'thread'?" in rig.unrunnable[0][1].message


def test_an_allowed_import_happens_on_the_worker(
    rig: Any, claim: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import threading\nhome = threading.current_thread().name\ndef work(): return home\n"
    (tmp_path / "kalends_test_jobs.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "kalends_test_jobs", raising=False)
    rig.runner.submit([claim("a", job="kalends_test_jobs:work")])
    (outcome,) = rig.wait(1)
    assert outcome.result.startswith('"kalends-job-')
    rig.runner.submit([claim("b", job="kalends_test_jobs:missing"), claim("c", job="os:getcwd")])
    rig.wait(1, unrunnable=2)
    assert {error.code for _, error in rig.unrunnable} == {"JOB_NOT_FOUND"}


# -- taking back ---------------------------------------------------------------------------------


def test_disarm_takes_back_what_is_armed_or_queued_and_leaves_what_runs(
    make_rig: Make, claim: Make
) -> None:
    rig = make_rig(SystemClock(), size=1)
    gate, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        gate.wait(10)

    rig.job("hold")(hold)
    rig.runner.submit([claim("running", event_id="e", job="hold")])
    assert begun.wait(10)
    rig.runner.submit(
        [
            claim("queued", event_id="f"),
            claim("behind", event_id="e"),
            claim("armed", event_id="f", due=SystemClock().now_us() + 3_600_000_000),
            claim("other", event_id="g"),
        ]
    )
    assert [taken.id for taken in rig.runner.disarm(["e", "f"])] == ["queued", "behind", "armed"]
    assert rig.runner.in_flight == 2
    gate.set()
    assert [outcome.execution_id for outcome in rig.wait(2)] == ["running", "other"]
    # The events are free again, and a claim that was taken back may come again.
    rig.runner.submit([claim("queued", event_id="f"), claim("next", event_id="e")])
    rig.wait(4)


def test_disarm_all_takes_back_everything_that_has_not_begun(rig: Any, claim: Make) -> None:
    due = SystemClock().now_us() + 3_600_000_000
    claims = [claim(f"x{n}", due=due) for n in range(10)]
    rig.runner.submit(claims)
    assert rig.runner.disarm_all() == claims
    assert rig.runner.in_flight == 0
    assert rig.runner.disarm_all() == []


def test_under_many_threads_a_claim_taken_back_never_runs_and_any_other_runs_once(
    rig: Any, claim: Make
) -> None:
    ran: list[int] = []
    rig.job("note")(ran.append)
    total, events = 3000, 40
    taken: list[str] = []
    over = threading.Event()

    def submit(part: int) -> None:
        now = SystemClock().now_us()
        for n in range(part, total, 3):
            text = f'{{"args":[{n}],"kwargs":{{}}}}'
            due = now + random.Random(n).randrange(150_000)
            event_id = f"e{n % events}"
            serial = n % 2 == 0
            rig.runner.submit(
                [
                    claim(
                        str(n),
                        event_id=event_id,
                        job="note",
                        arguments=text,
                        due=due,
                        serial=serial,
                    )
                ]
            )

    def disarm(seed: int) -> None:
        chance = random.Random(seed)
        pause = threading.Event()
        while not over.is_set():
            ids = [f"e{chance.randrange(events)}"]
            before = set(ran)
            back = [taken_back.id for taken_back in rig.runner.disarm(ids)]
            assert before.isdisjoint(map(int, back))
            taken.extend(back)
            pause.wait(0.001)

    submitters = [threading.Thread(target=submit, args=(part,)) for part in range(3)]
    disarmers = [threading.Thread(target=disarm, args=(seed,)) for seed in range(2)]
    for thread in submitters + disarmers:
        thread.start()
    for thread in submitters:
        thread.join(20)
    over.set()
    for thread in disarmers:
        thread.join(20)
    rig.wait(total - len(taken))
    assert taken
    assert ran
    assert sorted([*map(int, taken), *ran]) == list(range(total))
    assert rig.runner.in_flight == 0


# -- looking -------------------------------------------------------------------------------------


def test_running_and_newly_begun_tell_what_has_begun_and_not_ended(rig: Any, claim: Make) -> None:
    gate, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        gate.wait(10)

    rig.job("hold")(hold)
    rig.runner.submit([claim("a", job="hold", attempt=3), claim("b")])
    assert begun.wait(10)
    rig.wait(1)
    (running,) = rig.runner.running()
    assert (running.execution_id, running.attempt) == ("a", 3)
    assert rig.runner.newly_begun() == [running]
    assert rig.runner.newly_begun() == []
    assert rig.runner.running() == [running]
    gate.set()
    rig.wait(2)
    assert rig.runner.running() == []


def test_cancel_all_is_seen_by_the_jobs_that_run(rig: Any, claim: Make) -> None:
    begun = threading.Event()

    def loop() -> str:
        pause = threading.Event()
        begun.set()
        for _ in range(2000):
            if current().cancelled:
                return "told"
            pause.wait(0.005)
        return "never told"

    rig.job("loop")(loop)
    rig.runner.submit([claim(job="loop")])
    assert begun.wait(10)
    assert rig.runner.cancel_all() == 1
    assert rig.wait(1)[0].result == '"told"'


# -- stop ----------------------------------------------------------------------------------------


def test_stop_returns_what_did_not_end_and_what_ends_later_is_not_heard(
    make_rig: Make, claim: Make
) -> None:
    rig = make_rig(SystemClock(), size=1)
    gate, begun, ended = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        gate.wait(10)
        ended.set()

    rig.job("hold")(hold)
    rig.runner.submit([claim("running", job="hold"), claim("queued")])
    rig.runner.submit([claim("armed", due=SystemClock().now_us() + 3_600_000_000)])
    assert begun.wait(10)
    left = rig.runner.stop(0.05)
    assert sorted(abandoned.id for abandoned in left) == ["armed", "queued", "running"]
    gate.set()
    assert ended.wait(10)
    assert rig.runner.stop(10) == []
    assert rig.executor.stop(10) == []
    assert len(rig.outbox) == 0
    assert rig.runner.in_flight == 0


def test_stop_waits_for_what_runs(rig: Any, claim: Make) -> None:
    begun = threading.Event()

    def brief() -> str:
        begun.set()
        threading.Event().wait(0.05)
        return "done"

    rig.job("brief")(brief)
    rig.runner.submit([claim(job="brief")])
    assert begun.wait(10)
    assert rig.runner.stop(10) == []
    assert rig.outbox.peek(10)[0].result == '"done"'


def test_a_stopped_runner_takes_no_claims_and_does_not_start(rig: Any, claim: Make) -> None:
    assert rig.runner.stop(10) == []
    assert rig.runner.stop(10) == []
    rig.runner.start()
    with pytest.raises(NotInitialized):
        rig.runner.submit([claim()])


def test_stop_before_start_gives_back_what_was_submitted(make_rig: Make, claim: Make) -> None:
    rig = type(make_rig(SystemClock()))(SystemClock())
    rig.runner.submit([claim()])
    assert [given.id for given in rig.runner.stop(1)] == ["x1"]


def test_a_bug_in_whoever_hears_of_unrunnable_claims_stops_nothing(rig: Any, claim: Make) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("bug")

    rig.runner._on_unrunnable = broken
    rig.runner.submit([claim("a", event_id="e", job="missing"), claim("b", event_id="e")])
    assert rig.wait(1)[0].execution_id == "b"
