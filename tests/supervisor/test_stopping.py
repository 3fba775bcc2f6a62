"""Stop order, deadlines, kills, abandonment, failing first starts, and trees."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from kalends.errors import AskTimeout, SchedulerFailed
from kalends.supervisor import Backoff, ChildSpec, Context, Restart, RestartWindow, Strategy

if TYPE_CHECKING:
    from tests.supervisor.conftest import Bench


def broken() -> None:
    raise OSError("no start today")


def test_children_stop_in_reverse_order(bench: Bench) -> None:
    top = bench.run(*(bench.spec(n) for n in "abc"))
    bench.do(top.stop)
    assert bench.notes == ["stop c", "stop b", "stop a"]
    assert bench.states(top) == "stopped stopped stopped"
    assert [ended.kind for ended in bench.exits] == ["shutdown"]
    assert bench.reports == []


def test_a_stop_before_the_start_and_a_second_stop_do_nothing(bench: Bench) -> None:
    top = bench.supervisor(bench.spec("a"))
    bench.do(top.stop)
    bench.do(top.kill)
    bench.begin(top)
    assert bench.started == [None]
    bench.do(top.stop)
    bench.do(top.stop)
    assert len(bench.exits) == 1


def test_a_child_that_ignores_the_stop_is_killed_at_its_deadline_and_not_before(
    bench: Bench, messages: Any
) -> None:
    top = bench.run(bench.spec("a"), bench.spec("b", shutdown=3.0))
    bench.tell("b", messages.Hang())
    bench.do(top.stop)
    bench.pass_time(2.999)
    assert bench.states(top) == "running stopping"
    assert bench.events("actor_killed") == []
    bench.pass_time(0.001)
    assert bench.notes == ["stop a"]
    assert bench.exits[0].kind == "shutdown"
    assert [entry["actor"] for entry in bench.events("actor_killed")] == ["b"]
    assert [report.context for report in bench.reports] == [Context.SHUTDOWN_ERROR]


def test_a_child_that_swallows_the_kill_is_abandoned_after_a_bound(
    bench: Bench, messages: Any
) -> None:
    top = bench.run(bench.spec("a"), bench.spec("b", shutdown=3.0), kill_timeout=2.0)
    bench.tell("b", messages.Hang(stubborn=True))
    bench.do(top.stop)
    bench.pass_time(3.0)
    bench.pass_time(1.999)
    assert top.running
    bench.pass_time(0.001)
    assert not top.running
    assert bench.notes == ["stop a"]
    assert bench.states(top) == "stopped failed"
    assert bench.events("actor_abandoned")
    with pytest.raises(SchedulerFailed):
        bench.cells["b"].ref.tell(messages.Echo(1))
    # Should it come to its senses after all, it finds the order to stop and ends.
    bench.do(bench.let_go.set)
    assert not bench.cells["b"].running


def test_a_killed_child_has_five_seconds_where_nothing_else_is_said(
    bench: Bench, messages: Any
) -> None:
    top = bench.run(bench.spec("a", shutdown=0.0))
    bench.tell("a", messages.Hang(stubborn=True))
    bench.do(top.stop)
    bench.pass_time(4.9)
    assert bench.exits == []
    bench.pass_time(0.1)
    assert [ended.kind for ended in bench.exits] == ["shutdown"]
    assert bench.events("actor_abandoned")


def test_an_abandoned_child_is_never_restarted_so_the_supervisor_gives_up(
    bench: Bench, messages: Any
) -> None:
    top = bench.run(
        *(bench.spec(n) for n in "abc"), strategy=Strategy.REST_FOR_ONE, kill_timeout=2.0
    )
    bench.tell("c", messages.Hang(stubborn=True))
    bench.crash("b")
    bench.pass_time(5.0)
    bench.pass_time(2.0)
    assert bench.exits[0].kind == "crashed"
    assert "start c" not in bench.notes
    assert bench.states(top) == "failed failed failed"


def test_a_child_abandoned_while_it_restarts_is_not_tried_again(
    bench: Bench, messages: Any
) -> None:
    spec = bench.spec("a", start_timeout=4.0)
    bench.run(spec, kill_timeout=2.0)

    def hang_for_good() -> None:
        while not bench.let_go.is_set():
            with contextlib.suppress(gevent.GreenletExit):
                bench.let_go.wait()

    bench.on_start["a"] = hang_for_good
    future = bench.cells["a"].ref.ask(messages.Fail(ValueError()), block=False)
    bench.settle()
    for seconds in (1.0, 4.0, 2.0):
        bench.pass_time(seconds)
    assert future.done
    assert bench.notes == ["start a"]
    assert bench.exits[0].kind == "crashed"
    assert "could not be stopped" in str(bench.exits[0].reason)


def test_zero_shutdown_kills_without_asking_and_is_no_error(bench: Bench) -> None:
    top = bench.run(bench.spec("a", shutdown=0.0))
    bench.do(top.stop)
    bench.settle()
    assert bench.notes == []
    assert bench.exits[0].kind == "shutdown"
    assert bench.reports == []


def test_a_stop_during_a_backoff_does_not_wait_for_it(bench: Bench) -> None:
    top = bench.run(bench.spec("a"), backoff=Backoff(first=9.0))
    bench.crash("a")
    bench.do(top.stop)
    assert bench.exits[0].kind == "shutdown"
    bench.pass_time(100.0)
    assert bench.notes == []
    assert bench.states(top) == "stopped"


def test_a_stop_interrupts_a_start_that_hangs(bench: Bench) -> None:
    bench.on_start["b"] = bench.let_go.wait
    top = bench.begin(bench.supervisor(*(bench.spec(n) for n in "abc")))
    bench.do(top.stop)
    bench.pass_time(5.0)
    assert bench.notes == ["start a", "start b", "stop a"]
    assert len(bench.started) == 1
    assert bench.started[0] is not None
    assert bench.exits == []


def test_a_stop_is_served_while_every_restart_fails(bench: Bench) -> None:
    top = bench.run(bench.spec("a"), backoff=Backoff(first=0.0))

    def stop_and_fail() -> None:
        top.stop()
        broken()

    bench.on_start["a"] = stop_and_fail
    bench.crash("a")
    bench.settle()
    assert bench.notes == ["start a"]
    assert bench.exits[0].kind == "shutdown"


def test_a_mailbox_flood_does_not_delay_a_stop(bench: Bench, messages: Any) -> None:
    top = bench.run(bench.spec("a"))
    cell = bench.cells["a"]

    def flood() -> None:
        for n in range(9_000):
            cell.ref.tell(messages.Echo(n))
            cell.tell_urgent(messages.Echo(n))
        top.stop()

    bench.do(flood)
    assert not top.running
    assert cell.mailbox.received < 100
    assert len(cell.mailbox) > 17_000


def test_a_failing_first_start_stops_what_had_started_and_fails_the_start(bench: Bench) -> None:
    bench.on_start["c"] = broken
    top = bench.begin(bench.supervisor(*(bench.spec(n) for n in "abcd")))
    assert bench.notes == ["start a", "start b", "start c", "stop b", "stop a"]
    assert isinstance(bench.started[0], OSError)
    assert bench.exits == []
    assert not top.running
    assert bench.states(top) == "stopped stopped failed stopped"
    assert [report.context for report in bench.reports] == [Context.START_ERROR]


def test_a_start_that_takes_too_long_fails(bench: Bench) -> None:
    bench.on_start["a"] = bench.let_go.wait
    bench.begin(bench.supervisor(bench.spec("a", start_timeout=4.0)))
    bench.pass_time(3.999)
    assert bench.started == []
    bench.pass_time(0.001)
    assert isinstance(bench.started[0], AskTimeout)
    assert not bench.cells["a"].running


def test_after_a_failed_start_the_same_tree_can_start(bench: Bench, messages: Any) -> None:
    bench.on_start["b"] = broken
    top = bench.begin(bench.supervisor(bench.spec("a"), bench.spec("b")))
    del bench.on_start["b"]
    bench.begin(top)
    assert bench.started[1] is None
    assert bench.cells["b"].ref.ask(messages.Echo(4), timeout=5) == 4


def test_a_killed_supervisor_leaves_no_child_behind(bench: Bench) -> None:
    top = bench.run(bench.spec("a"), bench.spec("b"))
    bench.do(top.kill)
    assert bench.exits[0].kind == "killed"
    assert not any(cell.running for cell in bench.cells.values())


def test_a_supervisor_killed_before_its_greenlet_ran_still_says_so(bench: Bench) -> None:
    top = bench.supervisor(bench.spec("a"))

    def start_and_kill() -> None:
        top.start(bench.started.append, bench.exits.append)
        top.kill()

    bench.do(start_and_kill)
    assert isinstance(bench.started[0], gevent.GreenletExit)
    assert bench.notes == []


def nest(bench: Bench, *, intensity: int, restart: Restart = Restart.PERMANENT) -> Any:
    """A worker beside a restartable supervisor of two, which allows itself no restart."""
    inner = bench.supervisor(
        bench.spec("b"),
        bench.spec("c"),
        name="inner",
        window=RestartWindow(intensity=0, period=10.0),
        strategy=Strategy.ONE_FOR_ALL,
        restartable=restart is Restart.PERMANENT,
    )
    spec = ChildSpec("inner", inner, restart=restart, shutdown=math.inf)
    window = RestartWindow(intensity=intensity, period=10.0)
    return bench.run(bench.spec("a"), spec, window=window)


def test_a_nested_supervisor_that_gives_up_is_restarted_by_its_parent(
    bench: Bench, messages: Any
) -> None:
    top = nest(bench, intensity=1)
    bench.crash("b")
    waiting = bench.cells["b"].ref.ask(messages.Echo(5), block=False)
    bench.settle()
    assert not waiting.done
    bench.pass_time(1.0)
    assert bench.notes == ["stop c", "start b", "start c"]
    assert waiting.get(timeout=5) == 5
    inner = bench.status(top)["inner"]
    assert (inner.state, inner.restarts) == ("running", 1)
    assert [child.name for child in inner.children] == ["b", "c"]


def test_a_failure_climbs_to_the_top_when_no_level_can_hold_it(bench: Bench, messages: Any) -> None:
    top = nest(bench, intensity=0)
    bench.crash("b")
    assert not top.running
    assert bench.exits[0].kind == "crashed"
    assert bench.notes == ["stop c", "stop a"]
    for name in "abc":
        with pytest.raises(SchedulerFailed):
            bench.cells[name].ref.ask(messages.Echo(1))


def test_a_temporary_supervisor_that_gives_up_leaves_the_rest_alone(
    bench: Bench, messages: Any
) -> None:
    top = nest(bench, intensity=0, restart=Restart.TEMPORARY)
    bench.crash("c")
    assert bench.states(top) == "running failed"
    with pytest.raises(SchedulerFailed):
        bench.cells["b"].ref.ask(messages.Echo(1))
    assert bench.cells["a"].ref.ask(messages.Echo(1), timeout=5) == 1


def test_a_tree_stops_from_the_last_leaf_to_the_first(bench: Bench) -> None:
    top = nest(bench, intensity=0)
    bench.do(top.stop)
    assert bench.notes == ["stop c", "stop b", "stop a"]
    assert bench.exits[0].kind == "shutdown"


def test_a_kill_waits_for_nobody(bench: Bench) -> None:
    top = bench.run(bench.spec("a"))

    def kill_and_look() -> bool:
        top.kill()
        return top.running

    assert bench.do(kill_and_look) is True
    assert not top.running


def test_a_supervisor_that_runs_is_not_started_again(bench: Bench) -> None:
    top = bench.run(bench.spec("a"))
    with pytest.raises(RuntimeError, match="top is running"):
        bench.begin(top)
    assert bench.states(top) == "running"


def test_a_closed_supervisor_is_not_started_again(bench: Bench) -> None:
    top = bench.run(bench.spec("a"))
    bench.do(top.stop)
    bench.do(lambda: top.close(SchedulerFailed("over")))
    with pytest.raises(RuntimeError, match="top is closed"):
        bench.begin(top)
