"""A real process that is stopped, or killed: its journal says so."""

from __future__ import annotations

import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kalends import Registry, Scheduler

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP")

CHILD = """
import sys, threading
from kalends import Registry, Scheduler, every
registry = Registry()
count = 0

@registry.job("tick")
def tick():
    global count
    count += 1
    print(count, flush=True)

with Scheduler(sys.argv[1], registry=registry, environ={}, lease=60.0) as scheduler:
    scheduler.schedule_event("tick", every(seconds=0.2), name="t", on_conflict="keep")
    scheduler.wait()
"""
STOPPED = 5.0
"""Seconds for which the child stands still: more than the loop takes for lateness."""


class Child:
    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
        )

    def ticks(self, count: int) -> None:
        """Wait until the job has run so often from now on."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            for _ in range(count):
                assert selector.select(30), "the child says nothing"
                assert self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "k.db"


@pytest.fixture
def child(path: Path) -> Iterator[Child]:
    made = Child(path)
    yield made
    made.kill()


def test_a_process_that_was_stopped_says_for_how_long(child: Child, path: Path) -> None:
    child.ticks(2)
    child.process.send_signal(signal.SIGSTOP)
    threading.Event().wait(STOPPED)
    child.process.send_signal(signal.SIGCONT)
    child.ticks(10)
    with Scheduler(path, registry=Registry(), environ={}, enabled=False) as scheduler:
        (entry,) = scheduler.list_journal(kind="suspended").items
        assert STOPPED - 1.0 <= entry.details["seconds"] <= STOPPED + 60.0
        assert scheduler.list_journal(kind="clock_jumped").items == ()
        assert scheduler.list_journal(kind="node_died").items == ()


def test_the_time_after_a_kill_is_downtime(child: Child, path: Path) -> None:
    child.ticks(2)
    child.kill()
    threading.Event().wait(1.5)
    again = Child(path)
    try:
        again.ticks(2)
    finally:
        again.kill()
    with Scheduler(path, registry=Registry(), environ={}, enabled=False) as scheduler:
        (entry,) = scheduler.list_journal(kind="downtime").items
        assert 1.5 <= entry.details["seconds"] < 60.0
        # The lease of a minute had been renewed once: the first sign of life is the last one.
        started = scheduler.list_journal(kind="node_started").items
        assert entry.details["since"] == started[-1].at.isoformat()
        assert entry.node == started[0].node
