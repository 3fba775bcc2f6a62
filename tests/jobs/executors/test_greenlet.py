"""The greenlet executor: the contract, and what it promises beside it."""

from __future__ import annotations

import contextvars
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from kalends.errors import ForkedError, ValidationFailed
from kalends.jobs.executors.base import Executor
from kalends.jobs.executors.greenlet import GreenletExecutor
from kalends.testing.executor_contract import ExecutorContract, RecordingOwner

Until = Callable[..., Any]


class TestGreenletExecutor(ExecutorContract):
    def make_executor(self, size: int, queue_limit: int = 10_000) -> Executor:
        return GreenletExecutor(size, queue_limit=queue_limit)


@pytest.fixture
def owner() -> RecordingOwner:
    return RecordingOwner()


@pytest.fixture
def make() -> Iterator[Callable[..., GreenletExecutor]]:
    made: list[GreenletExecutor] = []

    def start(size: int = 100, **more: Any) -> GreenletExecutor:
        made.append(GreenletExecutor(size, **more))
        made[-1].start()
        return made[-1]

    yield start
    for executor in made:
        assert executor.stop(10) == []


@pytest.fixture
def executor(make: Callable[..., GreenletExecutor]) -> GreenletExecutor:
    return make()


def threads() -> list[str]:
    return sorted(it.name for it in threading.enumerate() if it.name.startswith("kalends-greenlet"))


def test_it_has_no_thread_before_the_first_task_and_none_after_its_end(
    owner: RecordingOwner,
) -> None:
    executor = GreenletExecutor(3)
    executor.start()
    assert threads() == []
    executor.submit([owner.task(n, lambda: threading.current_thread().name) for n in range(3)])
    assert {outcome.result for outcome in owner.wait(3)} == {'"kalends-greenlet"'}
    assert threads() == ["kalends-greenlet", "kalends-greenlet-watchdog"]
    assert executor.stop(10) == []
    assert threads() == []


def test_context_variables_are_carried_and_those_of_jobs_stay_apart_as_they_take_turns(
    owner: RecordingOwner,
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    variable.set("host")
    executor = GreenletExecutor(10)
    variable.set("later")

    def job(name: str) -> list[str]:
        seen = [variable.get()]
        variable.set(name)
        gevent.sleep(0)
        gevent.sleep(0)
        return [*seen, variable.get()]

    executor.start()
    executor.submit([owner.task(n, job, f'{{"args":["{n}"],"kwargs":{{}}}}') for n in range(4)])
    assert [outcome.result for outcome in owner.wait(4)] == [f'["host","{n}"]' for n in range(4)]
    assert executor.stop(10) == []
    assert variable.get() == "later"


# -- interrupting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timed_out", "raised"), [(True, "gevent.timeout.Timeout"), (False, "greenlet.GreenletExit")]
)
def test_what_is_raised_says_whether_it_took_too_long_or_was_cancelled(
    executor: GreenletExecutor, owner: RecordingOwner, timed_out: bool, raised: str
) -> None:
    cleaned: list[str] = []

    def job() -> None:
        try:
            Event().wait(10)
        except Exception:
            cleaned.append("it is no Exception")
            raise
        finally:
            gevent.sleep(0)  # it may wait for what it puts in order
            cleaned.append("up")

    task = owner.task(1, job)
    executor.submit([task])
    owner.wait_begun(1)
    task.stops_at = 0.0 if timed_out else None
    assert executor.interrupt(task)
    (outcome,) = owner.wait(1)
    assert outcome.error is not None
    assert outcome.error.type.removeprefix("gevent._").endswith(raised.rpartition(".")[2])
    assert cleaned == ["up"]


def test_a_job_that_has_returned_is_not_struck_while_its_end_is_told(
    executor: GreenletExecutor, owner: RecordingOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the owner logs, in a patched process: greenlets may have their turn there."""
    plain_end, telling, told = owner.end, threading.Event(), Event()

    def end(*told_of: Any) -> None:
        telling.set()
        told.wait(10)
        plain_end(*told_of)

    monkeypatch.setattr(owner, "end", end)
    task = owner.task(1, lambda: 1)
    executor.submit([task])
    assert telling.wait(10)
    executor.interrupt(task)
    executor.submit([owner.task(2, told.set)])
    assert owner.wait(2)[0].result == "1"


# -- blocking ------------------------------------------------------------------------------------


def test_a_job_that_keeps_the_others_from_their_turn_is_noticed_with_its_stack(
    make: Callable[..., GreenletExecutor],
    owner: RecordingOwner,
    logged: list[dict[str, Any]],
    until: Until,
) -> None:
    executor = make(10, stall_after=0.02)
    gate = threading.Event()

    def selfish() -> None:
        gate.wait(60)

    executor.submit([owner.task(1, selfish), owner.task(2, lambda: 2)])
    stalls = until(lambda: [it for it in logged if it["event"] == "hub_stalled"])
    assert stalls[0]["hub"] == "kalends-greenlet"
    assert "in selfish" in stalls[0]["stack"]
    assert owner.outcomes == []
    gate.set()
    owner.wait(2)


def test_when_a_job_was_written_off_and_blocks_for_ever_what_comes_begins_on_another_thread(
    make: Callable[..., GreenletExecutor],
    owner: RecordingOwner,
    logged: list[dict[str, Any]],
    until: Until,
) -> None:
    executor = make(10, stall_after=0.02)
    gate = threading.Event()
    beside = owner.task(1, lambda: gevent.sleep(0))
    stuck = owner.task(2, lambda: gate.wait(60) and "late")
    executor.submit([stuck, beside])
    owner.wait_begun(1)
    executor.release(stuck)
    executor.interrupt(stuck)
    executor.submit([owner.task(n, lambda: gevent.sleep(0)) for n in range(10, 15)])
    owner.wait(5)
    assert [it["lanes"] for it in logged if it["event"] == "lane_left"] == [1]
    assert "kalends-greenlet" in threads()
    gate.set()
    assert {outcome.execution_id for outcome in owner.wait(7)} >= {"x1", "x2"}
    until(lambda: threads() == ["kalends-greenlet", "kalends-greenlet-watchdog"])


def test_only_so_many_threads_are_left_behind(
    make: Callable[..., GreenletExecutor],
    owner: RecordingOwner,
    logged: list[dict[str, Any]],
    until: Until,
) -> None:
    executor = make(2, stall_after=0.02)
    gate = threading.Event()
    for n in range(4):
        task = owner.task(n, lambda: gate.wait(60) and None)
        executor.submit([task])
        owner.wait_begun(n + 1)
        executor.release(task)
    executor.submit([owner.task(9, lambda: 9)])
    seen = len(logged)
    until(lambda: len(logged) > seen + 8)  # each of the four watchdogs has told it again
    assert executor.queued == 1, "four stand still"
    assert [it["lanes"] for it in logged if it["event"] == "lane_left"] == [1, 2, 3]
    gate.set()
    owner.wait(5)


# -- many ----------------------------------------------------------------------------------------


def test_five_thousand_run_at_once_while_a_timer_beside_them_is_on_time(
    make: Callable[..., GreenletExecutor], owner: RecordingOwner
) -> None:
    executor = make(5_000)
    let_go = TurnGate()
    executor.submit([owner.task(n, let_go.wait) for n in range(5_000)])
    owner.wait_begun(5_000, patience=60)
    assert (executor.running, executor.queued) == (5_000, 0)
    assert owner.outcomes == []
    let_go.open()
    owner.wait(5_000, patience=60)


class TurnGate:
    """A gate for greenlets of one hub that any thread may open."""

    def __init__(self) -> None:
        self._event: Event | None = None
        self._hub: Any = None

    def wait(self) -> None:
        if self._event is None:
            self._hub, self._event = gevent.get_hub(), Event()
        assert self._event.wait(60)

    def open(self) -> None:
        assert self._event is not None
        self._hub.loop.run_callback_threadsafe(self._event.set)


def test_greenlets_that_a_job_has_left_behind_do_not_keep_the_executor_from_ending(
    owner: RecordingOwner,
) -> None:
    executor = GreenletExecutor()
    executor.start()
    left: list[Any] = []
    executor.submit([owner.task(1, lambda: left.append(gevent.spawn(gevent.sleep, 600)))])
    owner.wait(1)
    assert executor.stop(10) == []
    assert threads() == []


# -- what is left --------------------------------------------------------------------------------


class Witness:
    """Something whose end can be seen."""


def test_nothing_a_job_made_is_kept_alive(
    executor: GreenletExecutor, owner: RecordingOwner, until: Until
) -> None:
    seen: list[weakref.ref[Witness]] = []

    def job() -> None:
        witness = Witness()
        seen.append(weakref.ref(witness))
        gevent.sleep(0)
        raise ValueError(witness)

    gc.collect()
    gc.disable()
    try:
        executor.submit([owner.task(1, job)])
        owner.wait(1)
        until(lambda: executor.running == 0)
        until(lambda: seen[0]() is None)
    finally:
        gc.enable()


def test_a_bug_in_the_owner_does_not_end_the_hub(
    executor: GreenletExecutor, owner: RecordingOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_begin = owner.begin

    def begin(task: object) -> bool:
        monkeypatch.setattr(owner, "begin", plain_begin)
        raise RuntimeError("bug")

    monkeypatch.setattr(owner, "begin", begin)
    executor.submit([owner.task(1, lambda: 1), owner.task(2, lambda: 2)])
    owner.wait(1, refusals=1)
    assert "could not be begun" in owner.refusals[0][1].message
    assert owner.outcomes[0].execution_id == "x2"


def test_stop_from_inside_a_job_ends_within_its_time(owner: RecordingOwner, until: Until) -> None:
    executor = GreenletExecutor(1)
    executor.start()
    executor.submit([owner.task(1, lambda: executor.stop(0.05))])
    (outcome,) = owner.wait(1)
    assert outcome.result == '["x1"]'
    until(lambda: threads() == [])


@pytest.mark.parametrize(
    "bad", [{"size": 0}, {"size": True}, {"queue_limit": -1}, {"stall_after": 0}]
)
def test_bounds_that_are_none_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed) as refused:
        GreenletExecutor(**bad)
    assert refused.value.details["path"] == next(iter(bad))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_no_hub_and_says_so(
    executor: GreenletExecutor, owner: RecordingOwner
) -> None:
    executor.submit([owner.task(1, lambda: 1)])
    owner.wait(1)
    task = owner.task(2, lambda: 2)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            executor.submit([task])
        except ForkedError:
            code = 0 if executor.stop(5) == [] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys, time
import gevent
from kalends.jobs.executors.greenlet import GreenletExecutor
from kalends.native import get_ident
from kalends.testing.executor_contract import RecordingOwner

owner, executor = RecordingOwner(), GreenletExecutor(100)
executor.start()
here, seen = get_ident(), []
def job():
    seen.append(get_ident())
    time.sleep(0.05)  # gevent's, here: the others have their turn
tasks = [owner.task(n, job) for n in range(100)]
endless = owner.task(1000, lambda: time.sleep(600))
executor.submit([*tasks, endless])
with gevent.Timeout(20):
    while len(owner.outcomes) < 100:
        gevent.sleep(0.01)
assert len(set(seen)) == 1, "one thread"
assert here not in seen, "a job ran on the host's own thread"
assert executor.interrupt(endless)
assert executor.stop(5) == []
assert owner.outcomes[-1].execution_id == "x1000"
print("fine")
"""


def test_in_a_gevent_patched_process_jobs_run_on_a_hub_of_their_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PATCHED], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
