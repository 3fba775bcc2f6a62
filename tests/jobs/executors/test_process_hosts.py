"""Programs that have jobs run in processes: how they are found there, and what is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

START_METHODS = ["spawn", "forkserver"]
PRELUDE = """
import os, sys, time, warnings
from kalends.jobs.executors.process import ProcessExecutor
from kalends.testing.executor_contract import RecordingOwner

def pid():
    return os.getpid()

def burns(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    while True:
        pass

def make(**options):
    executor = ProcessExecutor(start_method=sys.argv[1], **options)
    executor.start()
    return executor, RecordingOwner()
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Run a program from a file, on the start method given."""

    def run(source: str, *args: str, **options: Any) -> subprocess.Popen[str]:
        path = tmp_path / "program.py"
        path.write_text(PRELUDE + source)
        given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([sys.executable, str(path), *args], text=True, **given)

    return run


def outcome_of(program: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = program.communicate(timeout=120)
    return program.returncode, out, err


@pytest.mark.parametrize("start_method", START_METHODS)
def test_jobs_of_the_program_itself_are_found(
    program: Callable[..., Any], start_method: str
) -> None:
    source = """
print("imported")
if __name__ == "__main__":
    executor, owner = make()
    executor.submit([owner.task(1, pid)])
    (outcome,) = owner.wait(1, patience=60)
    assert outcome.result not in (None, str(os.getpid())), outcome
    assert executor.stop(30) == []
    print("fine")
"""
    code, out, err = outcome_of(program(source, start_method))
    assert (code, err) == (0, "")
    assert sorted(out.split()) == ["fine", "imported", "imported"], "the worker imports it, too"


REFUSED = """
if __name__ == "__main__":
    executor, owner = make()
    executor.submit([owner.task(1, pid)])
    owner.wait(0, refusals=1)
    print(owner.refusals[0][1].message)
    executor.stop(30)
"""


@pytest.mark.parametrize("how", ["a command line", "python -m package"])
def test_jobs_that_no_worker_would_import_are_refused(tmp_path: Path, how: str) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(PRELUDE + REFUSED)
    start = ["-c", PRELUDE + REFUSED] if how == "a command line" else ["-m", "package"]
    command = [sys.executable, *start, "spawn"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.stderr == ""
    assert "it is defined in a session, on a command line or in a __main__.py" in done.stdout


def test_jobs_of_a_module_that_is_run_as_the_program_are_found(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    source = """
if __name__ == "__main__":
    executor, owner = make()
    executor.submit([owner.task(1, pid)])
    assert owner.wait(1, patience=60)[0].result, owner.outcomes
    executor.stop(30)
"""
    (tmp_path / "package" / "module.py").write_text(PRELUDE + source)
    command = [sys.executable, "-m", "package.module", "spawn"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_cannot_be_imported_is_a_failure_that_says_so(
    program: Callable[..., Any],
) -> None:
    source = """
if __name__ != "__main__":
    raise RuntimeError("not for you")
executor, owner = make()
executor.submit([owner.task(1, pid)])
(outcome,) = owner.wait(1, patience=60)
print(outcome.fate.value, outcome.error.type, outcome.error.message)
executor.stop(30)
"""
    code, out, err = outcome_of(program(source, "spawn"))
    assert code == 0
    assert "RuntimeError: not for you" in err
    assert out == "failed WorkerDied exited with code 1; no job had begun in it\n"


@pytest.mark.parametrize("start_method", START_METHODS)
def test_a_patched_host_runs_jobs_and_its_hub_goes_on(
    program: Callable[..., Any], start_method: str
) -> None:
    source = """
import gevent.monkey
if __name__ == "__main__":
    gevent.monkey.patch_all()
    import gevent, gevent.subprocess
    gevent.subprocess.run(["true"])  # from now on gevent waits for children
    executor, owner = make()
    beats = []
    def beat():
        while True:
            beats.append(1)
            gevent.sleep(0.01)
    gevent.spawn(beat)
    executor.submit([owner.task(1, pid)])
    while not owner.outcomes:
        gevent.sleep(0.01)
    assert owner.outcomes[0].result, owner.outcomes
    assert len(beats) > 5, beats
    stopped = gevent.get_hub().threadpool.apply(executor.stop, (30,))
    assert stopped == [], stopped
    print("fine")
"""
    assert outcome_of(program(source, start_method)) == (0, "fine\n", "")


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("start_method", START_METHODS)
def test_no_worker_outlives_a_host_that_is_killed(
    program: Callable[..., Any], tmp_path: Path, until: Callable[..., Any], start_method: str
) -> None:
    source = """
if __name__ == "__main__":
    executor, owner = make(size=2)
    executor.submit([owner.task(1, pid)])
    resting = owner.wait(1, patience=60)[0].result
    executor.submit([owner.task(2, burns, '{"args":["%s"],"kwargs":{}}' % sys.argv[2])])
    executor.submit([owner.task(3, pid)])
    print(resting, owner.wait(2, patience=60)[1].result, flush=True)
    time.sleep(600)
"""
    told = tmp_path / "burning"
    host = program(source, start_method, str(told))
    assert host.stdout is not None
    workers = {int(word) for word in host.stdout.readline().split()}
    workers.add(int(until(lambda: told.exists() and told.read_text(), 60)))
    assert len(workers) == 2
    assert not any(map(is_gone, workers))
    os.kill(host.pid, signal.SIGKILL)
    host.communicate(timeout=60)
    try:
        until(lambda: all(map(is_gone, workers)), 30)
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def test_a_process_that_the_host_forks_ends_in_peace_and_so_do_the_workers(
    program: Callable[..., Any],
) -> None:
    source = """
if __name__ == "__main__":
    executor, owner = make()
    executor.submit([owner.task(1, pid)])
    worker = owner.wait(1, patience=60)[0].result
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of any fork beside threads
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitpid(child, 0)[1] == 7 << 8
    executor.submit([owner.task(2, pid)])
    assert owner.wait(2)[1].result == worker, "it was left alone"
    assert executor.stop(30) == []
    print("fine")
"""
    assert outcome_of(program(source, "spawn")) == (0, "fine\n", "")


def test_a_host_that_ends_without_a_stop_is_not_held_up(
    program: Callable[..., Any], tmp_path: Path, until: Callable[..., Any]
) -> None:
    source = """
if __name__ == "__main__":
    executor, owner = make()
    executor.submit([owner.task(1, burns, '{"args":["%s"],"kwargs":{}}' % sys.argv[2])])
    while not os.path.exists(sys.argv[2]) or not os.path.getsize(sys.argv[2]):
        time.sleep(0.01)
    print("over")
"""
    told = tmp_path / "burning"
    assert outcome_of(program(source, "spawn", str(told))) == (0, "over\n", "")
    until(lambda: is_gone(int(told.read_text())), 30)


def test_a_job_that_prints_1_gb_takes_nothing_from_its_host(
    program: Callable[..., Any], tmp_path: Path
) -> None:
    source = """
import resource
def prints():
    line = "x" * 1_048_575
    for _ in range(1024):
        print(line)
    return os.fstat(1).st_rdev
if __name__ == "__main__":
    executor, owner = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    executor.submit([owner.task(1, prints)])
    (outcome,) = owner.wait(1, patience=60)
    assert outcome.fate.value == "succeeded", outcome
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 50_000, f"{grown} KiB"
    assert executor.stop(30) == []
    print("fine", file=sys.stderr)
"""
    host = program(source, "spawn", stdout=subprocess.DEVNULL)
    _, err = host.communicate(timeout=120)
    assert (host.returncode, err) == (0, "fine\n")
