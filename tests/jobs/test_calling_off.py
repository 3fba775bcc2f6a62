"""The runner: executions that are cancelled, and attempts that are written off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from kalends.clock import SystemClock
from kalends.jobs.context import current
from kalends.model import Fate
from kalends.work import WrittenOff

Make = Callable[..., Any]


class Holding:
    """Jobs of one event that run until they are let go, and say what they were told."""

    def __init__(self, rig: Any) -> None:
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        rig.job("hold")(self.run)

    def run(self) -> str:
        self.begun.release()
        assert self.gate.wait(10)
        return "told" if current().cancelled else "not told"

    def wait(self) -> None:
        assert self.begun.acquire(timeout=10)


def off(id: str, attempt: int = 1, ended_us: int = 5) -> WrittenOff:
    return WrittenOff(id, "e", attempt, ended_us)


def test_cancel_tells_what_runs_and_ends_what_has_not_begun(rig: Any, claim: Make) -> None:
    holding = Holding(rig)
    due = SystemClock().now_us() + 3_600_000_000
    rig.runner.submit([claim("runs", event_id="e", job="hold")])
    holding.wait()
    rig.runner.submit(
        [claim("behind", event_id="e"), claim("armed", due=due), claim("other", due=due)]
    )
    rig.runner.cancel({"runs", "behind", "armed", "unknown"})
    rig.runner.cancel({"runs"})
    ended = {outcome.execution_id: outcome for outcome in rig.wait(2)}
    assert {id: (o.fate, o.started_us) for id, o in ended.items()} == {
        "behind": (Fate.CANCELLED, None),
        "armed": (Fate.CANCELLED, None),
    }
    assert not any(outcome.late for outcome in ended.values())
    assert rig.runner.in_flight == 2
    holding.gate.set()
    assert rig.wait(3)[2].result == '"told"', "what returns has succeeded"


def test_a_line_goes_on_behind_what_was_cancelled_before_it_began(
    make_rig: Make, claim: Make
) -> None:
    rig = make_rig(SystemClock(), size=1)
    holding = Holding(rig)
    rig.runner.submit([claim("busy", job="hold")])
    holding.wait()
    rig.runner.submit([claim(id, event_id="e") for id in ("a", "b", "c")])
    rig.runner.cancel({"a", "b"})
    holding.gate.set()
    fates = {outcome.execution_id: outcome.fate for outcome in rig.wait(4)}
    assert (fates["a"], fates["b"], fates["c"]) == (Fate.CANCELLED, Fate.CANCELLED, Fate.SUCCEEDED)


def test_what_is_written_off_frees_its_slot_and_its_line_and_its_end_is_a_late_outcome(
    make_rig: Make, claim: Make
) -> None:
    rig = make_rig(SystemClock(), size=1)
    holding = Holding(rig)
    rig.runner.submit([claim("old", event_id="e", job="hold")])
    holding.wait()
    rig.runner.submit([claim("new", event_id="e")])
    rig.runner.write_off([off("old")])
    rig.runner.write_off([off("old")])
    (outcome,) = rig.wait(1)
    assert (outcome.execution_id, outcome.fate, outcome.late) == ("new", Fate.SUCCEEDED, False)
    assert (rig.runner.in_flight, rig.runner.running()) == (0, [])
    assert rig.runner.runs("old")
    assert not rig.runner.holds("old", 1)
    rig.runner.submit([claim("old", event_id="e", attempt=2)])
    rig.wait(2)
    holding.gate.set()
    late = rig.wait(3)[2]
    assert (late.execution_id, late.attempt, late.late, late.result) == ("old", 1, True, '"told"')
    assert late.started_us == 5, "not after the end that the ledger tells of"
    assert set(rig.outbox.pending()) == {"new", "old"}
    rig.outbox.drop(2)
    assert rig.outbox.pending() == {}, "a late outcome settles nothing"
    assert not rig.runner.runs("old")


def test_what_is_written_off_before_it_began_never_begins_and_is_reported_at_once(
    rig: Any, claim: Make
) -> None:
    rig.runner.submit([claim("armed", event_id="e", due=SystemClock().now_us() + 3_600_000_000)])
    rig.runner.write_off([off("armed"), off("gone", attempt=3)])
    outcomes = rig.wait(2)
    assert [(o.execution_id, o.attempt, o.late, o.started_us) for o in outcomes] == [
        ("armed", 1, True, None),
        ("gone", 3, True, None),
    ]
    assert rig.runner.in_flight == 0


def test_what_has_ended_here_unrecorded_is_not_reported_a_second_time(
    rig: Any, claim: Make
) -> None:
    rig.runner.submit([claim("done")])
    rig.wait(1)
    rig.runner.write_off([off("done")])
    assert len(rig.outbox) == 1


def test_after_stop_nobody_hears_of_what_was_written_off(make_rig: Make, claim: Make) -> None:
    rig = make_rig(SystemClock(), size=1)
    holding = Holding(rig)
    rig.runner.submit([claim("old", job="hold")])
    holding.wait()
    rig.runner.write_off([off("old")])
    assert rig.runner.stop(0.05) == []
    holding.gate.set()
    assert rig.executor.stop(10) == []
    assert len(rig.outbox) == 0


def test_what_is_written_off_frees_its_slot_though_nobody_knows_its_job_any_more(
    make_rig: Make, claim: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(SystemClock(), size=1)
    holding = Holding(rig)
    rig.runner.submit([claim("old", event_id="e", job="hold")])
    holding.wait()
    monkeypatch.setattr(rig.registry, "find", lambda _: None)
    rig.runner.write_off([off("old")])
    monkeypatch.undo()
    rig.runner.submit([claim("new", event_id="e")])
    assert [outcome.execution_id for outcome in rig.wait(1)] == ["new"]
    holding.gate.set()
    assert rig.wait(2)[1].late
