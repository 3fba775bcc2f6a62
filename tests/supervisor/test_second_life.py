"""What a supervisor that is started once more keeps of its earlier life, and what it forgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kalends.supervisor import Backoff, Restart, Strategy, Supervisor

if TYPE_CHECKING:
    from tests.supervisor.conftest import Bench

SLOW = Backoff(first=1.0, factor=3.0, jitter=0.0, settled=100.0)


def again(bench: Bench, top: Supervisor) -> None:
    """Stop it and start it once more; the notes are those of the start."""
    bench.do(top.stop)
    bench.notes.clear()
    bench.begin(top)
    assert bench.started == [None, None]


def test_a_child_that_had_ended_for_good_is_left_out_and_those_after_it_start(
    bench: Bench, messages: Any
) -> None:
    top = bench.run(bench.spec("a"), bench.spec("b", restart=Restart.TEMPORARY), bench.spec("c"))
    bench.tell("b", messages.Leave())
    again(bench, top)
    assert bench.notes == ["start a", "start c"]
    assert bench.states(top) == "running stopped running"


def test_restarts_in_a_row_are_counted_anew(bench: Bench) -> None:
    top = bench.run(bench.spec("a"), backoff=SLOW)
    bench.crash("a")
    bench.pass_time(1.0)
    bench.crash("a")
    bench.pass_time(3.0)
    again(bench, top)
    bench.crash("a")
    assert [entry["delay"] for entry in bench.events("actor_restarting")] == [1.0, 3.0, 1.0]


def test_a_restart_that_was_due_when_it_was_killed_is_forgotten(bench: Bench) -> None:
    top = bench.run(bench.spec("a"), backoff=SLOW, restartable=True)
    bench.crash("a")
    bench.do(top.kill)
    bench.pass_time(0.5)
    bench.begin(top)
    bench.crash("a")
    bench.pass_time(0.9)
    assert bench.states(top) == "restarting"
    bench.pass_time(0.1)
    assert bench.states(top) == "running"


def test_a_child_that_only_a_sibling_before_it_would_bring_back_is_kept_open(
    bench: Bench, messages: Any
) -> None:
    top = bench.run(
        bench.spec("a"),
        bench.spec("b", restart=Restart.TRANSIENT),
        bench.spec("c"),
        strategy=Strategy.REST_FOR_ONE,
    )
    bench.tell("b", messages.Leave())
    waiting = bench.cells["b"].ref.ask(messages.Echo(5), block=False)
    bench.settle()
    assert not waiting.done
    bench.crash("a")
    bench.pass_time(1.0)
    assert waiting.get() == 5
    assert bench.states(top) == "running running running"


def test_a_restart_that_falls_due_as_a_sibling_before_it_ends_waits_for_that_one(
    bench: Bench,
) -> None:
    top = bench.run(bench.spec("a"), bench.spec("b"), strategy=Strategy.REST_FOR_ONE, backoff=SLOW)
    bench.crash("b")

    def both() -> None:
        bench.clock.advance(1.0)
        bench.cells["a"].kill()

    bench.notes.clear()
    bench.do(both)
    assert bench.states(top) == "restarting restarting"
    bench.pass_time(1.0)
    assert bench.notes == ["start a", "start b"]
