"""The whole table: restart type x exit kind x strategy, and who is affected in each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kalends.actors.runtime import ExitKind
from kalends.errors import KalendsError, NotInitialized
from kalends.supervisor import Context, Restart, Strategy

if TYPE_CHECKING:
    from tests.supervisor.conftest import Bench

RESTARTED = {
    (Restart.PERMANENT, ExitKind.NORMAL): True,
    (Restart.PERMANENT, ExitKind.SHUTDOWN): True,
    (Restart.PERMANENT, ExitKind.CRASHED): True,
    (Restart.PERMANENT, ExitKind.KILLED): True,
    (Restart.TRANSIENT, ExitKind.NORMAL): False,
    (Restart.TRANSIENT, ExitKind.SHUTDOWN): False,
    (Restart.TRANSIENT, ExitKind.CRASHED): True,
    (Restart.TRANSIENT, ExitKind.KILLED): True,
    (Restart.TEMPORARY, ExitKind.NORMAL): False,
    (Restart.TEMPORARY, ExitKind.SHUTDOWN): False,
    (Restart.TEMPORARY, ExitKind.CRASHED): False,
    (Restart.TEMPORARY, ExitKind.KILLED): False,
}
MOVES = {
    Strategy.ONE_FOR_ONE: ["start b"],
    Strategy.ONE_FOR_ALL: ["stop c", "stop a", "start a", "start b", "start c"],
    Strategy.REST_FOR_ONE: ["stop c", "start b", "start c"],
}


def end(bench: Bench, messages: Any, name: str, kind: ExitKind) -> None:
    """End a worker with an exit of the kind; its own ``stop`` is no move of its siblings."""
    if kind is ExitKind.NORMAL:
        bench.tell(name, messages.Leave())
    elif kind is ExitKind.CRASHED:
        bench.crash(name)
    elif kind is ExitKind.KILLED:
        bench.do(bench.cells[name].kill)
    else:
        bench.do(bench.cells[name].stop)
    if f"stop {name}" in bench.notes:
        bench.notes.remove(f"stop {name}")


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize(("restart", "kind"), RESTARTED)
def test_every_cell_of_the_table_moves_the_right_children(
    bench: Bench, messages: Any, strategy: Strategy, restart: Restart, kind: ExitKind
) -> None:
    top = bench.run(
        bench.spec("a"), bench.spec("b", restart=restart), bench.spec("c"), strategy=strategy
    )
    end(bench, messages, "b", kind)
    bench.pass_time(1.0)
    again = RESTARTED[restart, kind]
    bad = kind in (ExitKind.CRASHED, ExitKind.KILLED)
    assert bench.notes == (MOVES[strategy] if again else [])
    ended = "running" if again else "failed" if bad else "stopped"
    assert bench.states(top) == f"running {ended} running"
    assert [report.context for report in bench.reports] == (
        [Context.CHILD_TERMINATED] if again or bad else []
    )
    assert bench.exits == []


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
def test_a_child_that_nothing_will_restart_refuses_at_once(
    bench: Bench, messages: Any, strategy: Strategy, restart: Restart
) -> None:
    bench.run(bench.spec("a"), bench.spec("b", restart=restart), strategy=strategy)
    future = None
    bench.tell("b", messages.Leave())
    bench.pass_time(1.0)
    comes_back = restart is Restart.TRANSIENT and strategy is not Strategy.ONE_FOR_ONE
    future = bench.cells["b"].ref.ask(messages.Echo(1), block=False)
    assert future.done is not comes_back
    if comes_back:
        bench.crash("a")
        bench.pass_time(1.0)
        assert future.get(timeout=5) == 1
    else:
        assert isinstance(future.error, NotInitialized)


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_temporary_sibling_is_stopped_with_its_group_and_never_comes_back(
    bench: Bench, messages: Any, strategy: Strategy
) -> None:
    top = bench.run(bench.spec("a"), bench.spec("t", restart=Restart.TEMPORARY), strategy=strategy)
    bench.crash("a")
    bench.pass_time(1.0)
    assert bench.notes == ["stop t", "start a"]
    assert bench.states(top) == "running stopped"
    with pytest.raises(KalendsError):
        bench.cells["t"].ref.ask(messages.Echo(1))


def test_two_crashes_at_once_in_one_group_are_one_restart(bench: Bench, messages: Any) -> None:
    top = bench.run(bench.spec("a"), bench.spec("b"), strategy=Strategy.ONE_FOR_ALL)

    def both() -> None:
        for name in ("a", "b"):
            bench.cells[name].ref.tell(messages.Fail(ZeroDivisionError()))

    bench.do(both)
    bench.pass_time(1.0)
    assert bench.notes == ["start a", "start b"]
    assert [child.restarts for child in bench.status(top).values()] == [1, 1]
    contexts = sorted(report.context for report in bench.reports)
    assert contexts == [Context.CHILD_TERMINATED, Context.SHUTDOWN_ERROR]


def test_an_earlier_child_that_crashes_during_a_backoff_takes_the_later_ones_along(
    bench: Bench,
) -> None:
    top = bench.run(*(bench.spec(name) for name in "abc"), strategy=Strategy.REST_FOR_ONE)
    bench.crash("b")
    assert bench.states(top) == "running restarting restarting"
    bench.crash("a")
    assert bench.states(top) == "restarting restarting restarting"
    bench.notes.clear()
    bench.pass_time(1.0)
    assert bench.notes == ["start a", "start b", "start c"]


def test_children_start_in_order_each_after_the_one_before(bench: Bench) -> None:
    bench.on_start["a"] = bench.let_go.wait
    bench.begin(bench.supervisor(bench.spec("a"), bench.spec("b")))
    assert bench.notes == ["start a"]
    assert bench.started == []
    bench.do(bench.let_go.set)
    assert bench.notes == ["start a", "start b"]
    assert bench.started == [None]
