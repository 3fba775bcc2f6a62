"""What a process leaves behind when it ends without a word to its scheduler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pendulum
import pytest

from kalends import (
    Registry,
    Scheduler,
)

PAST = pendulum.datetime(2020, 1, 1, tz="UTC")
AGES = 1e9
"""A catch-up window that reaches back to it."""


def make(path: Any, registry: Registry | None = None, **settings: Any) -> Scheduler:
    return Scheduler(path, registry=registry or Registry(), environ={}, **settings)


CHILD = """
import sys, threading
import pendulum
from kalends import Registry, Scheduler, once
registry = Registry()
begun = threading.Event()
go_on = threading.Event()
@registry.job("slow")
def slow():
    begun.set()
    go_on.wait(0.5)
    print("ended", flush=True)
scheduler = Scheduler(sys.argv[1], registry=registry, environ={})
scheduler.start()
scheduler.schedule_event("slow", once(pendulum.datetime(2020, 1, 1)), catch_up_window=1e9)
assert begun.wait(10)
"""


def run_child(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-P", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def integrity(path: Path) -> str:
    connection = apsw.Connection(str(path))
    verdict = connection.execute("PRAGMA integrity_check").fetchall()[0][0]
    connection.close()
    return str(verdict)


@pytest.mark.parametrize(
    "end", ["", "raise SystemExit(0)", "import gc; del scheduler; gc.collect()"]
)
def test_the_end_of_the_interpreter_drains_and_leaves_a_clean_file(
    tmp_path: Path, end: str
) -> None:
    ended = run_child(CHILD + end, tmp_path / "k.db")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")
    assert [file.name for file in tmp_path.iterdir()] == ["k.db"]
    assert integrity(tmp_path / "k.db") == "ok"
    with make(tmp_path / "k.db", enabled=False) as scheduler:
        assert scheduler.count_executions(fate="succeeded") == 1


def test_an_end_by_an_exception_of_the_host_drains_too(tmp_path: Path) -> None:
    ended = run_child(CHILD + "raise ValueError('mine')", tmp_path / "k.db")
    assert ended.returncode == 1
    assert ended.stdout == "ended\n"
    assert ended.stderr.endswith("ValueError: mine\n")
    assert ended.stderr.count("Traceback") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_end_by_sigterm_with_a_handler_that_exits_drains(tmp_path: Path) -> None:
    code = (
        "import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    ended = run_child(CHILD + code, tmp_path / "k.db")
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "ended\n", "")


def test_an_end_without_any_goodbye_leaves_a_sound_file(tmp_path: Path) -> None:
    ended = run_child(CHILD + "import os; os._exit(7)", tmp_path / "k.db")
    assert ended.returncode == 7
    assert integrity(tmp_path / "k.db") == "ok"
