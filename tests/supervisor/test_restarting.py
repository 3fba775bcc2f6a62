"""Backoff, the restart window, failing restarts, and what waits meanwhile."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from kalends.errors import ActorCrashed, KalendsError, SchedulerFailed, ValidationFailed
from kalends.supervisor import (
    Backoff,
    ChildSpec,
    Context,
    Report,
    Restart,
    RestartWindow,
    Strategy,
    Supervisor,
)

if TYPE_CHECKING:
    from tests.supervisor.conftest import Bench


def broken() -> None:
    raise OSError("no start today")


def test_a_restart_waits_for_its_backoff_and_no_longer(bench: Bench) -> None:
    top = bench.run(bench.spec("a"), backoff=Backoff(first=2.0, jitter=0.0))
    bench.crash("a")
    bench.pass_time(1.999)
    assert bench.states(top) == "restarting"
    bench.pass_time(0.001)
    assert bench.states(top) == "running"


def test_each_restart_in_a_row_waits_longer_and_a_long_life_forgives(bench: Bench) -> None:
    backoff = Backoff(first=1.0, factor=3.0, jitter=0.0, settled=50.0)
    bench.run(bench.spec("a"), backoff=backoff)
    for lived in (0.0, 49.0, 49.0, 50.0, 49.0, 49.0, 49.0):
        bench.pass_time(lived)
        bench.crash("a")
        bench.pass_time(10.0)
    delays = [entry["delay"] for entry in bench.events("actor_restarting")]
    assert delays == [1.0, 3.0, 9.0, 1.0, 3.0, 9.0, 10.0]


def test_messages_queued_while_an_actor_is_down_are_answered_after_its_restart(
    bench: Bench, messages: Any
) -> None:
    bench.run(bench.spec("a"))
    ref = bench.cells["a"].ref
    crash = ref.ask(messages.Fail(ZeroDivisionError("one")), block=False)
    answers = [ref.ask(messages.Echo(n), block=False) for n in range(100)]
    bench.settle()
    with pytest.raises(ActorCrashed) as caught:
        crash.get(timeout=5)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert not any(answer.done for answer in answers)
    bench.pass_time(1.0)
    assert [answer.get(timeout=5) for answer in answers] == list(range(100))


def test_a_restart_that_fails_counts_and_is_tried_again(bench: Bench) -> None:
    top = bench.run(bench.spec("a"), window=RestartWindow(intensity=3, period=100.0))
    bench.on_start["a"] = broken
    bench.crash("a")
    bench.pass_time(1.0)
    assert bench.states(top) == "restarting"
    del bench.on_start["a"]
    bench.pass_time(1.0)
    assert bench.states(top) == "running"
    assert [report.context for report in bench.reports] == [
        Context.CHILD_TERMINATED,
        Context.START_ERROR,
    ]
    assert [entry["in_a_row"] for entry in bench.events("actor_restarting")] == [1, 2]


def test_a_sibling_that_fails_to_come_back_is_tried_again_without_the_earlier_ones(
    bench: Bench,
) -> None:
    top = bench.run(*(bench.spec(n) for n in "abc"), strategy=Strategy.REST_FOR_ONE)
    bench.on_start["b"] = broken
    bench.crash("a")
    bench.pass_time(1.0)
    assert bench.states(top) == "running restarting restarting"
    del bench.on_start["b"]
    bench.notes.clear()
    bench.pass_time(1.0)
    assert bench.notes == ["start b", "start c"]
    assert bench.states(top) == "running running running"


def test_an_actor_that_never_starts_again_ends_the_supervisor_not_in_a_tight_loop(
    bench: Bench,
) -> None:
    top = bench.run(bench.spec("a"), window=RestartWindow(intensity=3, period=100.0))
    bench.on_start["a"] = broken
    bench.crash("a")
    for _ in range(10):
        assert bench.notes.count("start a") <= 3
        bench.pass_time(10.0)
    assert bench.notes.count("start a") == 3
    assert not top.running
    assert isinstance(bench.exits[0].reason, SchedulerFailed)


def test_past_the_window_everything_waiting_and_everything_later_fails_at_once(
    bench: Bench, messages: Any
) -> None:
    window = RestartWindow(intensity=1, period=10.0)
    top = bench.run(*(bench.spec(n) for n in "abc"), window=window)
    hung = bench.cells["c"].ref.ask(messages.Hang(), block=False)
    waiting = bench.cells["c"].ref.ask(messages.Echo(1), block=False)
    bench.crash("b")
    bench.pass_time(1.0)
    bench.notes.clear()
    bench.crash("b", ValueError("the last straw"))
    # c still hangs in its handler, and nobody has to wait for it.
    assert top.running
    for name in "abc":
        with pytest.raises(SchedulerFailed, match="last straw"):
            bench.cells[name].ref.ask(messages.Echo(1))
    for future in (hung, waiting):
        with pytest.raises(SchedulerFailed):
            future.get(timeout=5)
    bench.do(bench.let_go.set)
    assert bench.notes == ["stop c", "stop a"]
    assert not top.running
    assert bench.states(top) == "failed failed failed"
    ended = bench.exits[0]
    assert ended.kind == "crashed"
    assert isinstance(ended.reason, SchedulerFailed)
    assert isinstance(ended.reason.__cause__, ValueError)
    assert bench.reports[-1].context is Context.SHUTDOWN
    assert bench.reports[-1].offender.name == "b"
    assert len(bench.events("supervisor_gave_up")) == 1


def test_restarts_outside_the_period_do_not_count(bench: Bench) -> None:
    top = bench.run(bench.spec("a"), window=RestartWindow(intensity=1, period=10.0))
    for _ in range(5):
        bench.crash("a")
        bench.pass_time(10.001)
    assert top.running
    assert bench.status(top)["a"].restarts == 5


def test_status_tells_the_state_the_restarts_the_crash_and_the_mailbox(
    bench: Bench, messages: Any
) -> None:
    top = bench.run(bench.spec("a"), backoff=Backoff(first=5.0, jitter=0.0))
    bench.clock.jump(1000.0)
    bench.pass_time(3.0)
    bench.crash("a", ValueError("why"))
    bench.tell("a", messages.Echo(1))
    bench.pass_time(2.0)
    status = bench.status(top)["a"]
    assert (status.state, status.restarts, status.waiting, status.oldest_age) == (
        "restarting",
        0,
        1,
        2.0,
    )
    assert status.last_crash is not None
    assert status.last_crash.text == "ValueError: why"
    assert (status.last_crash.at, status.last_crash.wall_us) == (3.0, 1_003_000_000)
    bench.pass_time(3.0)
    status = bench.status(top)["a"]
    assert (status.state, status.restarts, status.waiting, status.received) == ("running", 1, 0, 2)


@pytest.mark.parametrize("error", [ValueError("callback"), SystemExit(3), KeyboardInterrupt()])
def test_a_report_callback_that_raises_changes_nothing(bench: Bench, error: BaseException) -> None:
    def listen(_report: Report) -> None:
        raise error

    top = Supervisor("top", bench.hub, [bench.spec("a")], on_report=listen)
    bench.begin(top)
    bench.crash("a")
    bench.pass_time(1.0)
    assert bench.states(top) == "running"
    assert bench.events("report_callback_failed")[0]["exc_info"] is error


def test_an_exception_that_cannot_be_printed_is_still_reported(bench: Bench) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("nothing to say")

    top = bench.run(bench.spec("a"))
    bench.crash("a", Mute())
    bench.pass_time(1.0)
    assert bench.states(top) == "running"
    crash = bench.status(top)["a"].last_crash
    assert crash is not None
    assert crash.text == "Mute"


def test_a_bug_in_the_supervisor_itself_ends_it_and_its_children_and_its_owner_hears(
    bench: Bench, messages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = bench.run(bench.spec("a"), bench.spec("b"))

    def bug(*_: object) -> None:
        raise IndexError("supervisor")

    monkeypatch.setattr(top, "_plan_restart", bug)
    bench.crash("a")
    assert bench.exits[0].kind == "crashed"
    assert isinstance(bench.exits[0].reason, IndexError)
    assert not any(cell.running for cell in bench.cells.values())
    with pytest.raises(SchedulerFailed) as caught:
        bench.cells["b"].ref.ask(messages.Echo(1))
    assert caught.value.__cause__ is bench.exits[0].reason
    assert bench.events("supervisor_crashed")


def test_each_exit_is_told_in_the_log(bench: Bench, messages: Any) -> None:
    bench.run(bench.spec("a"), bench.spec("b"))
    bench.crash("a")
    bench.tell("b", messages.Leave())
    assert [(e["actor"], e["error"]) for e in bench.events("actor_crashed")] == [
        ("a", "ZeroDivisionError: bench")
    ]
    assert [(e["actor"], e["kind"]) for e in bench.events("actor_stopped")] == [("b", "normal")]
    bench.pass_time(1.0)
    restarted = [(e["actor"], e["restarts"]) for e in bench.events("actor_restarted")]
    assert sorted(restarted) == [("a", 1), ("b", 1)]


def test_those_after_a_temporary_sibling_are_restarted_too(bench: Bench) -> None:
    top = bench.run(
        bench.spec("a"),
        bench.spec("t", restart=Restart.TEMPORARY),
        bench.spec("c"),
        strategy=Strategy.ONE_FOR_ALL,
    )
    bench.crash("a")
    bench.pass_time(1.0)
    assert bench.notes == ["stop c", "stop t", "start a", "start c"]
    assert bench.states(top) == "running stopped running"


def test_a_restart_that_fails_was_no_life(bench: Bench) -> None:
    def fail() -> None:
        raise OSError("no start today")

    bench.run(bench.spec("a"), backoff=Backoff(first=1.0, factor=3.0, jitter=0.0, settled=0.5))
    bench.on_start["a"] = fail
    bench.crash("a")
    bench.pass_time(1.0)
    assert [entry["delay"] for entry in bench.events("actor_restarting")] == [1.0, 3.0]


def test_a_restart_jitter_comes_from_the_given_source_of_chance(bench: Bench) -> None:
    backoff = Backoff(first=1.0, jitter=0.5)
    bench.run(bench.spec("a"), backoff=backoff, rng=random.Random(7))
    bench.crash("a")
    expected = backoff.delay(1, random.Random(7).random())
    assert bench.events("actor_restarting")[0]["delay"] == expected


def test_wrong_specifications_are_refused(bench: Bench) -> None:
    cell = bench.cell("a")
    for options in (
        {"shutdown": -1.0},
        {"shutdown": float("nan")},
        {"start_timeout": 0.0},
        {"significant": True},
    ):
        with pytest.raises(ValidationFailed):
            ChildSpec("a", cell, **options)
    with pytest.raises(ValidationFailed):
        bench.supervisor(ChildSpec("a", cell), ChildSpec("a", cell))


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
def test_a_significant_child_that_ends_for_good_ends_the_supervisor_in_order(
    bench: Bench, messages: Any, restart: Restart
) -> None:
    bench.run(bench.spec("a"), bench.spec("s", restart=restart, significant=True))
    bench.tell("s", messages.Leave())
    assert bench.exits[0].kind == "shutdown"
    assert bench.notes == ["stop s", "stop a"]


def test_a_significant_transient_child_that_crashes_is_only_restarted(bench: Bench) -> None:
    top = bench.run(bench.spec("s", restart=Restart.TRANSIENT, significant=True))
    bench.crash("s")
    bench.pass_time(1.0)
    assert bench.states(top) == "running"


def test_a_crashed_temporary_child_is_closed_with_its_reason(bench: Bench, messages: Any) -> None:
    bench.run(bench.spec("t", restart=Restart.TEMPORARY))
    bench.crash("t", ValueError("gone"))
    with pytest.raises(KalendsError, match="gone") as caught:
        bench.cells["t"].ref.ask(messages.Echo(1))
    assert isinstance(caught.value.__cause__, ValueError)
