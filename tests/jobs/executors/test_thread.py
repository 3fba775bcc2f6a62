"""The thread executor: the contract, and what it promises beside it."""

from __future__ import annotations

import contextvars
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from kalends.errors import ForkedError, ValidationFailed
from kalends.jobs.executors.base import Executor
from kalends.jobs.executors.thread import ThreadExecutor
from kalends.testing.executor_contract import ExecutorContract, RecordingOwner


class TestThreadExecutor(ExecutorContract):
    def make_executor(self, size: int, queue_limit: int = 10_000) -> Executor:
        return ThreadExecutor(size, queue_limit=queue_limit)


@pytest.fixture
def owner() -> RecordingOwner:
    return RecordingOwner()


@pytest.fixture
def executor() -> Iterator[ThreadExecutor]:
    made = ThreadExecutor(4, idle_seconds=0.05)
    made.start()
    yield made
    assert made.stop(10) == []


def wait_until(condition: object) -> None:
    """Give other threads a chance until ``condition()``; at most ten seconds."""
    pause = threading.Event()
    for _ in range(2000):
        if condition():  # type: ignore[operator]  # any callable
            return
        pause.wait(0.005)
    raise AssertionError("not in time")


def test_one_warm_thread_is_there_from_the_start(executor: ThreadExecutor) -> None:
    assert executor.threads == 1


def test_threads_are_added_while_work_waits_and_end_when_idle(
    executor: ThreadExecutor, owner: RecordingOwner
) -> None:
    gate = threading.Event()
    names: set[str] = set()

    def job() -> None:
        names.add(threading.current_thread().name)
        gate.wait(10)

    executor.submit([owner.task(n, job) for n in range(6)])
    owner.wait_begun(4)
    assert executor.threads == 4
    gate.set()
    owner.wait(6)
    assert len(names) == 4
    assert all(name.startswith("kalends-job-") for name in names)
    wait_until(lambda: executor.threads == 1)
    executor.submit([owner.task(9, lambda: "again")])
    assert owner.wait(7)[-1].result == '"again"'


def test_one_job_after_another_needs_one_thread(
    executor: ThreadExecutor, owner: RecordingOwner
) -> None:
    names: set[str] = set()
    for n in range(20):
        executor.submit([owner.task(n, lambda: names.add(threading.current_thread().name))])
        owner.wait(n + 1)
    assert len(names) <= 2


def test_jobs_see_the_context_variables_of_whoever_made_the_executor(owner: RecordingOwner) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    variable.set("host")
    executor = ThreadExecutor(1)
    variable.set("later")

    def job() -> str:
        seen = variable.get()
        variable.set("job")
        return seen

    executor.start()
    executor.submit([owner.task(n, job) for n in (1, 2)])
    assert [outcome.result for outcome in owner.wait(2)] == ['"host"', '"host"']
    executor.stop(10)
    assert variable.get() == "later"


class Witness:
    """Something whose end can be seen."""


def test_nothing_a_failed_job_made_is_kept_alive(
    executor: ThreadExecutor, owner: RecordingOwner
) -> None:
    seen: list[weakref.ref[Witness]] = []

    def job() -> None:
        witness = Witness()
        seen.append(weakref.ref(witness))
        try:
            raise KeyError(witness)
        except KeyError as error:
            raise ValueError(witness) from error

    gc.collect()
    gc.disable()
    try:
        executor.submit([owner.task(1, job)])
        owner.wait(1)
        wait_until(lambda: executor.running == 0)
        assert seen[0]() is None, gc.get_referrers(seen[0]())
    finally:
        gc.enable()


def test_arguments_and_results_are_not_kept_by_an_idle_thread(
    executor: ThreadExecutor, owner: RecordingOwner
) -> None:
    results: list[weakref.ref[Witness]] = []

    def job() -> Witness:
        witness = Witness()
        results.append(weakref.ref(witness))
        return witness

    gc.disable()
    try:
        task = owner.task(1, job)
        kept = weakref.ref(task.claim.__class__)
        executor.submit([task])
        owner.wait(1)
        wait_until(lambda: executor.running == 0)
        assert results[0]() is None
        assert kept() is not None
        assert sys.getrefcount(task) == 2
    finally:
        gc.enable()


def test_a_wrapped_coroutine_function_fails_instead_of_succeeding_unrun(
    executor: ThreadExecutor, owner: RecordingOwner
) -> None:
    async def work() -> int:
        return 1

    # A lambda: the registry would refuse the function itself.
    executor.submit([owner.task(1, lambda: work())])  # noqa: PLW0108
    (outcome,) = owner.wait(1)
    assert outcome.error is not None
    assert "coroutine" in outcome.error.message


def test_a_bug_in_the_owner_does_not_end_the_worker(
    executor: ThreadExecutor, owner: RecordingOwner, monkeypatch: pytest.MonkeyPatch
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


def test_stop_from_inside_a_job_ends_within_its_time(owner: RecordingOwner) -> None:
    executor = ThreadExecutor(1)
    executor.start()
    executor.submit([owner.task(1, lambda: executor.stop(10))])
    (outcome,) = owner.wait(1)
    assert outcome.result == '["x1"]'
    wait_until(lambda: executor.threads == 0)


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "4", 10_001])
def test_a_size_that_is_no_pool_size_is_refused(size: object) -> None:
    with pytest.raises(ValidationFailed):
        ThreadExecutor(size)  # type: ignore[arg-type]  # what a host may pass by mistake


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_no_workers_and_says_so(
    executor: ThreadExecutor, owner: RecordingOwner
) -> None:
    task = owner.task(1, lambda: 1)
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
from kalends.jobs.executors.thread import ThreadExecutor
from kalends.native import get_ident
from kalends.testing.executor_contract import RecordingOwner

owner, executor = RecordingOwner(), ThreadExecutor(2)
executor.start()
here, seen = get_ident(), []
def job():
    seen.append(get_ident())
    time.sleep(0.001)
executor.submit([owner.task(n, job) for n in range(3)])
with gevent.Timeout(10):
    while len(owner.outcomes) < 3:
        gevent.sleep(0.01)
assert here not in seen, "a job ran on the host's own thread"
assert executor.stop(5) == []
print("fine")
"""


def test_in_a_gevent_patched_process_jobs_run_on_real_threads() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PATCHED], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


def test_a_thread_whose_task_was_released_ends_with_it_where_the_pool_is_full(
    executor: ThreadExecutor, owner: RecordingOwner
) -> None:
    first, second = threading.Event(), threading.Event()
    held = [owner.task(n, lambda: first.wait(10) and None) for n in range(4)]
    executor.submit(held)
    owner.wait_begun(4)
    for task in held:
        executor.release(task)
    assert executor.running == 0
    executor.submit([owner.task(n, lambda: second.wait(10) and None) for n in range(4, 8)])
    owner.wait_begun(8)
    assert (executor.threads, executor.running) == (8, 4)
    first.set()
    wait_until(lambda: executor.threads == 4)
    assert executor.running == 4
    second.set()
    owner.wait(8)


def test_a_task_that_is_released_while_nothing_waits_lets_its_thread_go_on_afterwards(
    executor: ThreadExecutor, owner: RecordingOwner
) -> None:
    # Before the warm thread rests, a task would get a thread of its own.
    wait_until(lambda: len(executor._idle) == 1)
    gate = threading.Event()
    held = owner.task(1, lambda: gate.wait(10) and threading.current_thread().name)
    executor.submit([held])
    owner.wait_begun(1)
    executor.release(held)
    gate.set()
    owner.wait(1)
    wait_until(lambda: len(executor._idle) == 1)  # it runs nothing that counts all the while
    executor.submit([owner.task(2, lambda: threading.current_thread().name)])
    first, second = owner.wait(2)
    assert first.result == second.result


def test_beyond_a_bound_what_is_released_keeps_its_place_with_a_warning(
    owner: RecordingOwner, logged: list[dict[str, object]]
) -> None:
    executor = ThreadExecutor(1)
    executor.start()
    gate = threading.Event()
    tasks = [owner.task(n, lambda: gate.wait(10) and None) for n in range(6)]
    executor.submit(tasks)
    for n in range(5):
        owner.wait_begun(n + 1)
        executor.release(tasks[n])
    assert (executor.threads, executor.queued, len(owner.begun)) == (5, 1, 5)
    assert [entry["event"] for entry in logged] == ["job_threads_exhausted"]
    gate.set()
    owner.wait(6)
    assert executor.stop(10) == []
