"""The process executor: the contract, and the life of its workers."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kalends.errors import ValidationFailed
from kalends.jobs.executors.base import Executor
from kalends.jobs.executors.process import ProcessExecutor
from kalends.jobs.registry import default_registry
from kalends.model import Fate
from kalends.testing.executor_contract import ContractJobs, ExecutorContract
from kalends.testing.process_jobs import ProcessJobs


@pytest.mark.usefixtures("hostile")
class TestProcessExecutor(ExecutorContract):
    jobs: ContractJobs = ProcessJobs()
    patience = 60.0

    def make_executor(self, size: int, queue_limit: int = 10_000) -> Executor:
        return ProcessExecutor(size, start_method="forkserver", queue_limit=queue_limit)


def test_no_process_is_started_before_a_job_wants_one(processes: Callable[..., Any]) -> None:
    made = processes()
    assert made.executor.pids == []
    made.run("pid")
    assert len(made.executor.pids) == 1


def test_a_worker_stays_warm_for_the_next_job(processes: Callable[..., Any]) -> None:
    made = processes(start_method="spawn")
    assert made.run("pid").result == made.run("pid").result


def test_a_worker_is_replaced_after_so_many_jobs(
    processes: Callable[..., Any], until: Callable[..., Any]
) -> None:
    made = processes(max_jobs=2)
    pids = [int(made.run("pid").result) for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    made.run("pid")
    until(lambda: made.executor.pids not in ([], [pids[4]]))


def test_a_worker_that_is_killed_while_it_rests_is_replaced(
    processes: Callable[..., Any], until: Callable[..., Any]
) -> None:
    made = processes()
    first = int(made.run("pid").result)
    assert made.executor.pids == [first]
    os.kill(first, signal.SIGKILL)
    until(lambda: made.executor.pids == [])
    assert int(made.run("pid").result) != first


def test_workers_end_without_work_but_for_one(
    processes: Callable[..., Any], until: Callable[..., Any]
) -> None:
    made = processes(size=3, idle_seconds=0.05)
    jobs = ProcessJobs()
    held = jobs.gate()
    for number in range(3):
        made.submit(jobs.waits(held, number))
    made.owner.wait_begun(3, patience=60)
    assert len(made.executor.pids) == 3
    held.open()
    made.owner.wait(3)
    until(lambda: len(made.executor.pids) == 1, 30)


def test_a_stopped_executor_leaves_no_process(processes: Callable[..., Any]) -> None:
    for start_method in ("spawn", "forkserver"):
        made = processes(start_method=start_method)
        pid = int(made.run("pid").result)
        assert made.executor.stop(30) == []
        assert made.executor.pids == []
        if start_method == "spawn":
            assert not Path(f"/proc/{pid}").exists()


def test_what_does_not_end_in_time_can_still_be_interrupted(
    processes: Callable[..., Any], tmp_path: Path, until: Callable[..., Any]
) -> None:
    made = processes()
    task = made.submit("blocks", str(tmp_path / "begun"))
    until((tmp_path / "begun").exists)
    assert made.executor.stop(0.01) == ["x1"]
    assert made.executor.interrupt(task)
    assert made.executor.stop(30) == []
    assert made.owner.outcomes[0].error.message == "killed by SIGKILL"


# -- what a job sees ---------------------------------------------------------------------------


def test_a_job_sees_its_execution(processes: Callable[..., Any]) -> None:
    outcome = processes().run("sees", attempt=3, due=1_700_000_000_000_000)
    assert outcome.result == (
        '{"execution":"x1","event":"event 1","attempt":3,"due":1700000000.0,"deadline":null,'
        '"cancelled":false,"job":"job-1"}'
    )


def test_a_job_sees_its_deadline(processes: Callable[..., Any]) -> None:
    made = processes()
    begin = made.owner.begin

    def limit(task: Any) -> bool:
        task.deadline_us = 1_800_000_000_000_000
        return bool(begin(task))

    made.owner.begin = limit
    assert '"deadline":1800000000.0' in made.run("sees").result


def test_a_running_job_is_told_to_stop(
    processes: Callable[..., Any], tmp_path: Path, until: Callable[..., Any]
) -> None:
    made = processes()
    task = made.submit("is_told", str(tmp_path / "begun"))
    until((tmp_path / "begun").exists)
    task.tell_to_stop()
    assert made.owner.wait(1)[0].result == '"told"'
    assert '"cancelled":false' in made.run("sees").result, "the next job is not meant"
    task.tell_to_stop()
    assert '"cancelled":false' in made.run("sees").result


def test_a_job_that_was_told_before_it_began_sees_that(
    processes: Callable[..., Any], hostile: ModuleType
) -> None:
    made = processes()
    early = made.owner.task(1, hostile.sees)
    early.tell_to_stop()
    made.executor.submit([early])
    assert '"cancelled":true' in made.owner.wait(1, patience=60)[0].result
    begin = made.owner.begin

    def tell(task: Any) -> bool:
        task.tell_to_stop()
        return bool(begin(task))

    made.owner.begin = tell
    late = made.owner.task(2, hostile.sees)
    made.executor.submit([late])
    assert '"cancelled":true' in made.owner.wait(2, patience=60)[1].result


# -- what cannot be had ------------------------------------------------------------------------


def test_a_worker_that_takes_more_than_its_limit_is_a_failure_that_says_so(
    processes: Callable[..., Any], until: Callable[..., Any]
) -> None:
    made = processes(memory_limit=64 * 2**20)
    outcome = made.run("pid")
    assert outcome.fate is Fate.FAILED
    assert outcome.error.type == "WorkerDied"
    assert "memory_limit is 67108864 bytes, and a worker takes" in outcome.error.message
    until(lambda: made.executor.pids == [])


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"size": 0}, "size", "from 1 to"),
        ({"size": True}, "size", "from 1 to"),
        ({"queue_limit": -1}, "queue_limit", "from 0 to"),
        ({"max_jobs": 0}, "max_jobs", "from 1 to"),
        ({"memory_limit": 1000}, "memory_limit", "from 67,108,864 to"),
        ({"memory_limit": "1G"}, "memory_limit", "from 67,108,864 to"),
        ({"start_method": "fork"}, "start_method", "copies locks"),
        ({"start_method": "threads"}, "start_method", "'spawn', 'forkserver'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(ValidationFailed, match=words) as caught:
        ProcessExecutor(**options)
    assert caught.value.details["path"] == path


def test_a_platform_without_limits_refuses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ValidationFailed, match="not to be had on darwin"):
        ProcessExecutor(memory_limit=2**30)


def test_a_fresh_one_has_the_same_options() -> None:
    options = {
        "start_method": "forkserver", "max_jobs": 7, "memory_limit": 2**30, "queue_limit": 9,
    }  # fmt: skip
    made = ProcessExecutor(3, **options).fresh("heavy")  # type: ignore[arg-type]
    assert {name: getattr(made, name) for name in options} == options
    assert (made.name, made.capacity) == ("heavy", 3)


def test_what_a_worker_cannot_find_is_refused_before_it_begins(
    processes: Callable[..., Any],
) -> None:
    made = processes()
    made.submit(lambda: 1)
    made.submit(functools.partial(max, 1))
    made.owner.wait(0, refusals=2)
    codes = {error.code for _, error in made.owner.refusals}
    assert codes == {"VALIDATION_FAILED"}
    assert made.owner.begun == []
    assert made.executor.pids == []


@pytest.mark.usefixtures("hostile")
def test_a_job_of_the_default_registry_is_found_there_whatever_its_module_says(
    processes: Callable[..., Any],
) -> None:
    made = processes()
    job = default_registry.get("hostile.wrapped")
    task = made.owner.task(1, job.function)
    task.job = job
    made.executor.submit([task])
    assert made.owner.wait(1, patience=60)[0].result == '"inner"'
