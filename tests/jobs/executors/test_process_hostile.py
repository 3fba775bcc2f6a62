"""What jobs do to their processes: each thing has its row, and the executor goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalends.jobs.executors import process_worker
from kalends.model import Fate

LIMIT = 600 * 2**20


def goes_on(processes: Any) -> None:
    """It runs jobs, and has one worker for them."""
    outcome = processes.run("pid")
    assert outcome.fate is Fate.SUCCEEDED, outcome.error
    assert processes.executor.pids == [int(outcome.result)]


@pytest.mark.parametrize(
    ("job", "args", "message"),
    [
        ("leaves", [3], "exited with code 3"),
        ("leaves", [0], "exited with code 0"),
        ("crashes", [], "killed by SIGSEGV"),
        ("aborts", [], "killed by SIGABRT"),
        ("is_killed", [], "killed by SIGKILL"),
    ],
)
@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_a_worker_that_ends_is_a_failure_that_says_how(
    processes: Callable[..., Any], start_method: str, job: str, args: list[int], message: str
) -> None:
    made = processes(start_method=start_method)
    outcome = made.run(job, *args)
    assert outcome.fate is Fate.FAILED
    assert (outcome.error.type, outcome.error.message) == ("WorkerDied", message)
    assert "WorkerDied" in outcome.kinds
    goes_on(made)


def test_a_job_that_blocks_for_ever_and_withstands_every_signal_is_killed(
    processes: Callable[..., Any], tmp_path: Path, until: Callable[..., Any]
) -> None:
    made = processes()
    task = made.submit("blocks", str(tmp_path / "begun"))
    until((tmp_path / "begun").exists)
    task.call_off()
    assert made.executor.interrupt(task)
    (outcome,) = made.owner.wait(1)
    assert outcome.fate is Fate.CANCELLED
    assert outcome.error.message == "killed by SIGKILL"
    goes_on(made)


def test_what_a_job_has_started_is_killed_with_it(
    processes: Callable[..., Any], tmp_path: Path, until: Callable[..., Any]
) -> None:
    made = processes()
    told = tmp_path / "pid"
    task = made.submit("starts_a_program_and_blocks", str(told))
    program = until(lambda: told.exists() and int(told.read_text() or 0))
    made.executor.interrupt(task)
    made.owner.wait(1)
    until(lambda: is_gone(program))


def is_gone(pid: int) -> bool:
    """Whether a process has ended; nobody may have asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_result_of_100_mb_leaves_a_note(processes: Callable[..., Any]) -> None:
    made = processes()
    outcome = made.run("returns_much")
    assert outcome.fate is Fate.SUCCEEDED
    assert outcome.result is None
    assert "exceeds the limit" in outcome.result_note
    goes_on(made)


def test_a_job_that_allocates_without_end_gets_a_memory_error(
    processes: Callable[..., Any],
) -> None:
    made = processes(memory_limit=LIMIT)
    outcome = made.run("allocates")
    assert outcome.fate is Fate.FAILED
    assert outcome.error.type == "MemoryError"
    assert "MemoryError" in outcome.kinds
    goes_on(made)


def test_a_recursion_that_no_limit_ends_is_a_failure(processes: Callable[..., Any]) -> None:
    made = processes(memory_limit=LIMIT)
    outcome = made.run("recurses")
    assert outcome.fate is Fate.FAILED
    # Before 3.12 the interpreter counts no frames of C, and the stack or the memory ends first.
    told = ("MemoryError", "RecursionError")
    assert "SIGSEGV" in outcome.error.message or outcome.error.type in told
    goes_on(made)


def test_of_a_job_that_forks_only_the_worker_answers(processes: Callable[..., Any]) -> None:
    made = processes()
    assert made.run("forks").result == '"parent"'
    goes_on(made)
    assert len(made.owner.outcomes) == 2


def test_the_end_of_a_worker_is_seen_though_what_it_forked_lives_on(
    processes: Callable[..., Any], tmp_path: Path
) -> None:
    for start_method in ("spawn", "forkserver"):
        made = processes(start_method=start_method)
        told = tmp_path / start_method
        outcome = made.run("forks_and_leaves", str(told))
        child = int(told.read_text())
        assert not is_gone(child)
        os.kill(child, 9)
        assert outcome.error.message == "exited with code 4"


def test_a_job_that_closes_all_files_has_failed(processes: Callable[..., Any]) -> None:
    made = processes()
    outcome = made.run("closes_files")
    assert outcome.fate is Fate.FAILED
    assert "the channel for its answer was closed" in outcome.error.message
    goes_on(made)


def test_a_watch_over_the_host_whose_file_a_job_has_closed_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []
    monkeypatch.setattr("kalends.jobs.executors.process_worker.os._exit", ended.append)
    door, host = os.pipe()
    identity = process_worker._identity(door)
    os.close(host)
    process_worker._watch_host(door, identity)
    assert ended == [1]
    os.close(door)
    process_worker._watch_host(door, identity)
    assert ended == [1]


def test_a_job_that_closes_all_files_and_goes_on_is_killed(
    processes: Callable[..., Any],
) -> None:
    made = processes()
    outcome = made.run("closes_files_and_blocks")
    assert outcome.error.message == (
        "its worker process was killed: the channel for its answer was closed"
    )
    goes_on(made)


@pytest.mark.parametrize("text", ["not JSON", '{"type":"Ready"}', "{}", "x" * 1_000_000])
def test_a_job_that_writes_into_the_channel_is_killed(
    processes: Callable[..., Any], text: str
) -> None:
    made = processes()
    outcome = made.run("writes_into_the_channel", text)
    assert (outcome.fate, outcome.error.type) == (Fate.FAILED, "WorkerDied")
    assert outcome.error.message.startswith("its worker process ")
    goes_on(made)


def test_a_signal_without_a_name_is_told_by_its_number(processes: Callable[..., Any]) -> None:
    number = signal.SIGRTMIN + 3
    assert processes().run("sends_itself", number).error.message == f"killed by signal {number}"


def test_an_answer_does_not_go_into_a_file_that_took_the_channels_place(
    processes: Callable[..., Any], tmp_path: Path
) -> None:
    made = processes()
    outcome = made.run("closes_and_opens_files", str(tmp_path))
    assert "the channel for its answer was closed" in outcome.error.message
    assert len(list(tmp_path.iterdir())) > 0
    assert all(file.stat().st_size == 0 for file in tmp_path.iterdir())
    goes_on(made)


def test_a_job_that_changes_signals_streams_and_paths_harms_only_its_worker(
    processes: Callable[..., Any],
) -> None:
    made = processes(max_jobs=1)
    assert made.run("changes_everything").fate is Fate.SUCCEEDED
    assert made.run("pid").fate is Fate.SUCCEEDED


def test_a_hidden_coroutine_is_a_failure(processes: Callable[..., Any]) -> None:
    outcome = processes().run("hides_a_coroutine")
    assert outcome.fate is Fate.FAILED
    assert "its body has not run" in outcome.error.message


def test_exceptions_are_known_by_their_names_and_bases(processes: Callable[..., Any]) -> None:
    outcome = processes().run("raises_unwelcome")
    assert (outcome.error.type, outcome.error.message) == ("hostile_jobs.Unwelcome", "not today")
    assert {"Unwelcome", "hostile_jobs.Unwelcome", "LookupError", "Exception"} <= {*outcome.kinds}
    assert "raises_unwelcome" in outcome.error.traceback
    assert "process_worker" not in outcome.error.traceback


def test_retry_snooze_and_cancel_are_heard(processes: Callable[..., Any]) -> None:
    made = processes()
    retry, snooze, cancel = (made.run("asks", what) for what in ("retry", "snooze", "cancel"))
    assert (retry.fate, retry.error.type, retry.ask.delay_us) == (Fate.FAILED, "Retry", 5_000_000)
    assert (snooze.fate, snooze.ask.failed, snooze.ask.delay_us) == (
        Fate.CANCELLED, False, 7_000_000,
    )  # fmt: skip
    assert (cancel.fate, cancel.error.message) == (Fate.CANCELLED, "not needed")
