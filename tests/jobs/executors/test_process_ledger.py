"""Jobs in processes under a whole scheduler: what the ledger says of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kalends import Event, Execution, Fate, Registry, Scheduler, ValidationFailed, every
from kalends.jobs.executors.process import ProcessExecutor


@pytest.fixture
def scheduler(hostile: ModuleType, tmp_path: Path) -> Iterator[Scheduler]:
    registry = Registry()
    for name in (
        "pid",
        "blocks",
        "crashes",
        "raises_unwelcome",
        "sees",
        "is_told",
        "tells_much_and_blocks",
    ):
        registry.register(getattr(hostile, name), name, "process")
    made = Scheduler(
        tmp_path / "ledger.db",
        registry=registry,
        executors={"process": ProcessExecutor(2, start_method="forkserver")},
        cancel_grace=0.05,
    )
    made.start()
    yield made
    made.shutdown(30)


def event(scheduler: Scheduler, job: str, *args: Any, **policies: Any) -> Event:
    return scheduler.schedule_event(job, every(days=300), args=args, **policies)


def processes_of(scheduler: Scheduler) -> ProcessExecutor:
    system = scheduler._system
    assert system is not None
    executor = system.runner._dispatcher._executors["process"]
    assert isinstance(executor, ProcessExecutor)
    return executor


def ended(scheduler: Scheduler, execution: Execution, until: Callable[..., Any]) -> Execution:
    def look() -> Execution | None:
        found = scheduler.get_execution(execution.id)
        over = found.fate not in (Fate.PENDING, Fate.RUNNING)
        return found if over and not found.still_running else None

    found: Execution = until(look, 60)
    return found


def test_a_result_is_in_the_ledger(scheduler: Scheduler, until: Callable[..., Any]) -> None:
    run = scheduler.trigger_now(event(scheduler, "sees").id)
    found = ended(scheduler, run, until)
    assert found.fate is Fate.SUCCEEDED
    assert found.result["execution"] == run.id


def test_a_crash_is_in_the_ledger_by_the_name_of_its_signal(
    scheduler: Scheduler, until: Callable[..., Any]
) -> None:
    found = ended(scheduler, scheduler.trigger_now(event(scheduler, "crashes").id), until)
    assert found.fate is Fate.FAILED
    assert found.error is not None
    assert (found.error.type, found.error.message) == ("WorkerDied", "killed by SIGSEGV")


def test_retries_go_by_the_names_of_what_was_raised_and_of_dead_workers(
    scheduler: Scheduler, until: Callable[..., Any]
) -> None:
    def attempts(job: str, retry_on: str) -> int:
        made = event(scheduler, job, retries=1, retry_on=[retry_on], retry_delay=0.01)
        return len(ended(scheduler, scheduler.trigger_now(made.id), until).attempts)

    assert attempts("raises_unwelcome", "Unwelcome") == 2
    assert attempts("raises_unwelcome", "LookupError") == 2
    assert attempts("raises_unwelcome", "OSError") == 1
    assert attempts("crashes", "WorkerDied") == 2
    assert attempts("crashes", "OSError") == 1


def test_a_job_that_takes_too_long_is_killed_and_its_slot_is_free(
    scheduler: Scheduler, until: Callable[..., Any], tmp_path: Path
) -> None:
    made = event(scheduler, "blocks", str(tmp_path / "begun"), timeout=0.5)
    found = ended(scheduler, scheduler.trigger_now(made.id), until)
    assert found.fate is Fate.TIMED_OUT
    assert not found.still_running
    again = ended(scheduler, scheduler.trigger_now(event(scheduler, "pid").id), until)
    assert again.fate is Fate.SUCCEEDED
    assert scheduler.verify().ok


def test_a_job_that_is_cancelled_is_told_and_then_killed(
    scheduler: Scheduler, until: Callable[..., Any], tmp_path: Path
) -> None:
    heeds = scheduler.trigger_now(event(scheduler, "is_told", str(tmp_path / "heeds")).id)
    until((tmp_path / "heeds").exists, 60)
    scheduler.cancel_execution(heeds.id)
    assert ended(scheduler, heeds, until).result == "told"
    blocks = scheduler.trigger_now(event(scheduler, "blocks", str(tmp_path / "blocks")).id)
    until((tmp_path / "blocks").exists, 60)
    scheduler.cancel_execution(blocks.id)
    found = ended(scheduler, blocks, until)
    assert found.fate is Fate.CANCELLED
    assert found.error is not None
    assert found.error.message == "killed by SIGKILL"


def test_what_a_job_tells_is_in_the_ledger_while_it_runs_and_afterwards(
    scheduler: Scheduler, until: Callable[..., Any]
) -> None:
    made = event(scheduler, "tells_much_and_blocks")
    run = scheduler.trigger_now(made.id)
    until(
        lambda: (
            (attempts := scheduler.get_execution(run.id).attempts)
            and attempts[-1].note == "step 99"
        ),
        60,
    )
    scheduler.cancel_execution(run.id)
    assert ended(scheduler, run, until).attempts[-1].progress == 0.99


def test_an_event_may_choose_processes_for_a_job_of_threads(
    scheduler: Scheduler, hostile: ModuleType, until: Callable[..., Any]
) -> None:
    scheduler.registry.register(hostile.pid, "pid.on.a.thread")
    made = event(scheduler, "pid.on.a.thread", executor="process")
    result = ended(scheduler, scheduler.trigger_now(made.id), until).result
    assert result in processes_of(scheduler).pids


def test_what_no_other_process_can_find_is_refused_when_it_is_scheduled(
    scheduler: Scheduler,
) -> None:
    def local() -> None:
        """Not at the top of its module."""

    with pytest.raises(ValidationFailed, match="no other process finds it"):
        scheduler.registry.register(local, "local", "process")
    scheduler.registry.register(local, "local")
    with pytest.raises(ValidationFailed, match="no other process finds it"):
        event(scheduler, "local", executor="process")
    scheduler.registry.register(str.upper, "upper")
    with pytest.raises(ValidationFailed, match="has no name of its own"):
        event(scheduler, "upper", executor="process")


def test_a_shutdown_leaves_no_job_running(
    scheduler: Scheduler, until: Callable[..., Any], tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    run = scheduler.trigger_now(event(scheduler, "blocks", str(begun)).id)
    until(begun.exists, 60)
    executor = processes_of(scheduler)
    assert len(executor.pids) == 1
    scheduler.shutdown(0.1)
    until(lambda: not executor.pids)
    scheduler.start()
    assert scheduler.get_execution(run.id).fate in (Fate.PENDING, Fate.RUNNING)
    scheduler.delete_event(run.event_id)


UNGUARDED = """
import sys
import kalends
from kalends import Scheduler, every

@kalends.job("tick", executor="process")
def tick():
    return 1

scheduler = Scheduler(sys.argv[1])
scheduler.start()
run = scheduler.trigger_now(scheduler.schedule_event(tick, every(days=300)).id)
for execution in iter(lambda: scheduler.get_execution(run.id), None):
    if execution.ended_at is not None:
        break
print(execution.fate.value, execution.error.message)
scheduler.shutdown(30)
"""


def test_a_program_that_starts_a_scheduler_when_it_is_imported_has_one_only(
    tmp_path: Path,
) -> None:
    path = tmp_path / "program.py"
    path.write_text(UNGUARDED)
    command = [sys.executable, str(path), str(tmp_path / "ledger.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "failed exited with code 1; no job had begun in it\n"
    assert 'below if __name__ == "__main__":' in done.stderr
