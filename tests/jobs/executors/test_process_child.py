"""One worker process: what goes wrong with it before a job runs, or while nobody looks."""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import structlog

from kalends.errors import JobNotFound, ValidationFailed
from kalends.jobs.executors import process_ending
from kalends.jobs.executors.process import ProcessExecutor
from kalends.jobs.executors.process_child import Child, WorkerDied
from kalends.jobs.executors.process_orders import Order, find_job
from kalends.jobs.logbook import Keeps
from kalends.jobs.references import Reference, reference_of
from kalends.jobs.registry import Job
from kalends.model import Fate
from kalends.native import NativeThread
from kalends.testing.executor_contract import RecordingOwner


@pytest.fixture
def child(hostile: ModuleType) -> Child:
    return Child(multiprocessing.get_context("forkserver"), None)


def test_a_worker_that_takes_too_long_to_get_ready_is_given_up(child: Child) -> None:
    with pytest.raises(WorkerDied, match="was not ready within 0 seconds"):
        child.greet(0)
    child.kill()
    child.kill()
    child.retire()
    assert not child.alive


def test_an_order_for_a_worker_that_is_gone_says_how_it_went(
    child: Child, hostile: ModuleType, until: Callable[..., Any]
) -> None:
    child.greet(60)
    child.kill()
    task = RecordingOwner().task(1, hostile.pid)
    assert task.job is not None
    order = Order(1, reference_of(task.job), task.claim, None, None, Keeps(), 1000, 1000)
    until(lambda: not child.alive)
    with pytest.raises(WorkerDied, match="killed by SIGKILL"):
        child.send(order)
    child.retire()


def test_an_exit_status_that_somebody_else_took_is_not_invented(
    processes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = process_ending._exit_code
    assert real(os.getppid(), 0) is None, "it is nobody's child of ours"
    monkeypatch.setattr(process_ending, "_exit_code", lambda *given: real(*given) and None)
    outcome = processes(start_method="spawn").run("crashes")
    assert outcome.error.message == (
        "its worker process ended; the host's program has taken its exit status"
    )


def test_a_system_that_gives_no_process_fails_the_job_and_the_next_one_tries_again(
    processes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = processes(start_method="spawn")

    def refuse(self: SpawnProcess) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as context:
        context.setattr(SpawnProcess, "start", refuse)
        outcome = made.run("pid")
    assert (outcome.fate, outcome.error.type) == (Fate.FAILED, "WorkerDied")
    assert "could not be started: BlockingIOError" in outcome.error.message
    assert made.run("pid").fate is Fate.SUCCEEDED


def test_a_worker_whose_end_no_thread_can_wait_for_does_not_run(
    processes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    made = processes(start_method="spawn")
    start, pids = NativeThread.start, []

    def refuse(self: NativeThread) -> None:
        if self.name == "kalends-process-end":
            pids.append(self._target.__self__._pid)  # type: ignore[attr-defined]  # a method's
            raise RuntimeError("can't start new thread")
        start(self)

    with monkeypatch.context() as context:
        context.setattr(NativeThread, "start", refuse)
        outcome = made.run("pid")
    assert "can't start new thread" in outcome.error.message
    assert len(pids) == 1
    assert not Path(f"/proc/{pids[0]}").exists()
    assert made.run("pid").fate is Fate.SUCCEEDED


def test_a_replacement_that_cannot_be_started_is_logged_and_tried_again(
    processes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    made = processes(max_jobs=1)
    first = int(made.run("pid").result)
    until(lambda: made.executor.pids not in ([], [first]))

    def refuse(*given: Any) -> None:
        raise OSError("no more")

    with structlog.testing.capture_logs() as logged, monkeypatch.context() as context:
        context.setattr("kalends.jobs.executors.process.Child", refuse)
        assert made.run("pid").fate is Fate.SUCCEEDED
        until(lambda: [line for line in logged if line["event"] == "job_process_refused"])
    assert made.run("pid").fate is Fate.SUCCEEDED


def test_many_workers_one_after_the_other_leave_nothing_behind(
    processes: Callable[..., Any], until: Callable[..., Any]
) -> None:
    def look() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    made = processes(max_jobs=1)
    for _ in range(3):
        made.run("pid")
    until(lambda: len(made.executor.pids) == 1)
    before = look()
    for _ in range(30):
        assert made.run("pid").fate is Fate.SUCCEEDED
    until(lambda: look() == before)


# -- how jobs are found ------------------------------------------------------------------------


def test_a_function_of_a_class_is_found_and_a_method_is_not(hostile: ModuleType) -> None:
    job = Job("held", hostile.Holder.holds, "process")
    assert reference_of(job) == Reference("hostile_jobs", "Holder.holds", "held")
    assert find_job(reference_of(job)).function() == "held"
    with pytest.raises(ValidationFailed, match="does not bring it back"):
        reference_of(Job("bound", hostile.Holder().method, "process"))


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (Reference("no_such_module", "job", "lost"), "ModuleNotFoundError: No module named"),
        (Reference("hostile_jobs", "no_such_job", "lost"), "has no function 'no_such_job'"),
    ],
)
@pytest.mark.usefixtures("hostile")
def test_a_job_that_is_not_there_in_the_worker_is_told_by_name(
    reference: Reference, words: str
) -> None:
    with pytest.raises(JobNotFound, match=words) as caught:
        find_job(reference)
    assert caught.value.details["job"] == "lost"


def test_a_module_that_is_gone_when_the_worker_looks_fails_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: Callable[..., Any]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "passing_jobs.py").write_text("def job():\n    return 1\n")
    import passing_jobs  # type: ignore[import-not-found]  # written above

    (tmp_path / "passing_jobs.py").write_text("raise OSError('gone')\n")
    outcome = processes().run(passing_jobs.job)
    assert (outcome.fate, outcome.error.type) == (Fate.FAILED, "kalends.errors.JobNotFound")
    assert "OSError: gone" in outcome.error.message
    assert "JobNotFound" in outcome.kinds


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_copy_of_an_executor_is_inert(processes: Callable[..., Any]) -> None:
    made: ProcessExecutor = processes().executor
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if made.stop(1) == [] else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
