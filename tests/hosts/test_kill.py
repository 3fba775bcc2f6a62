"""A process that is killed again and again loses nothing it has promised.

The short form runs always: 40 events, 6 kills, some twenty seconds. The full one, 200 events over
a minute and 20 kills, runs where ``TEST_FULL`` is set (``tox -e full``). Both print their seed;
``TEST_SEED`` repeats one.
"""

from __future__ import annotations

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import pytest

from kalends import Delivery, Event, Execution, Fate, Registry, Scheduler

CHILD = Path(__file__).with_name("kill_child.py")
FULL = bool(os.environ.get("TEST_FULL"))
EVENTS, KILLS, SECONDS, PERIOD = (200, 20, 60.0, 1.0) if FULL else (40, 6, 9.0, 0.25)

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL"),
    pytest.mark.timeout(240),
]


class Victim:
    """One life of the child, and what it acknowledged in it."""

    def __init__(self, directory: Path, first: int) -> None:
        self.acknowledged: list[tuple[str, str, int]] = []
        self.errors = directory / "errors"
        with self.errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(CHILD), str(directory / "k.db"), str(directory / "log"),
                 str(EVENTS), str(PERIOD), str(first)],
                stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        assert self._process.stdout is not None
        self._out = self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        self._rest = b""

    def read_for(self, seconds: float, until: bytes | None = None) -> bool:
        """Take what it prints for so long; True as soon as a line begins with ``until``."""
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            while (left := end - time.monotonic()) > 0:
                if selector.select(left) and self._take(until):
                    return True
                assert self._process.poll() is None, self.errors.read_text()
        return False

    def _take(self, until: bytes | None = None) -> bool:
        found = False
        self._rest += self._out.read() or b""
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            word, *fields = line.decode().split()
            found = found or line == until
            if word == "event":
                self.acknowledged.append((fields[0], fields[1], int(fields[2])))
        return found

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(how)
        self._process.wait(30)
        self._take()
        self._out.close()


def test_what_was_acknowledged_survives_and_every_instant_has_one_fate(tmp_path: Path) -> None:
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().getrandbits(32))
    sys.stdout.write(f"TEST_SEED={seed}\n")  # shown where the test fails
    rng = random.Random(seed)
    acknowledged: dict[int, tuple[str, str]] = {}
    lives = sorted(rng.uniform(0.0, SECONDS) for _ in range(KILLS))
    began = time.monotonic()
    for end in lives:
        victim = Victim(tmp_path, len(acknowledged))
        assert victim.read_for(30, b"ready")
        victim.read_for(max(rng.uniform(0.0, 0.3), began + end - time.monotonic()))
        victim.kill()
        for event_id, delivery, number in victim.acknowledged:
            assert acknowledged.setdefault(number, (event_id, delivery)) == (event_id, delivery)
    last = Victim(tmp_path, len(acknowledged))
    assert last.read_for(30, b"ready")
    last.read_for(3.0)
    last.kill()  # its executions, too, are to be told by whoever comes next
    for event_id, delivery, number in last.acknowledged:
        acknowledged[number] = (event_id, delivery)
    assert len(acknowledged) == EVENTS
    check(tmp_path, acknowledged)
    assert (tmp_path / "errors").read_text() == ""


def check(directory: Path, acknowledged: dict[int, tuple[str, str]]) -> None:
    """Look at all that is left, through a scheduler that runs nothing but its housekeeper."""
    connection = apsw.Connection(str(directory / "k.db"))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    log = read_log(directory / "log")
    with Scheduler(directory / "k.db", registry=Registry(), environ={}, enabled=False) as scheduler:
        report = scheduler.keep_house()
        assert report.errors == {}
        assert scheduler.count_events() >= EVENTS
        for event_id, delivery in acknowledged.values():
            event = scheduler.get_event(event_id)
            assert event.policies.delivery == delivery
            executions = all_executions(scheduler, event)
            accounts(scheduler, event, executions)
            for execution in executions:
                one_execution(event, execution, log)
        assert scheduler.count_executions(fate="succeeded") > EVENTS


def all_executions(scheduler: Scheduler, event: Event) -> list[Execution]:
    found: list[Execution] = []
    cursor = None
    while True:
        page = scheduler.list_executions(event_id=event.id, limit=1000, cursor=cursor)
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found


def accounts(scheduler: Scheduler, event: Event, executions: list[Execution]) -> None:
    """The rule's instants up to the first that is open are executions and gaps, each once."""
    told = [execution.due for execution in executions]
    gaps = scheduler.list_gaps(event_id=event.id, limit=1000)
    assert gaps.cursor is None
    for gap in gaps.items:
        instants = list(event.trigger.between(gap.first, gap.last.add(microseconds=1)))
        assert len(instants) == gap.count
        told += instants
    assert event.next_due is not None
    assert sorted(told) == list(event.trigger.between(event.accounted_from, event.next_due))


def read_log(path: Path) -> Counter[tuple[str, str]]:
    """How often each execution began and ended, by the jobs' own account."""
    text = path.read_text()
    assert text.endswith("\n")
    return Counter((line.split()[0], line.split()[1]) for line in text.splitlines())


def one_execution(event: Event, execution: Execution, log: Counter[tuple[str, str]]) -> None:
    begun, ended = log["begin", execution.id], log["end", execution.id]
    assert [attempt.number for attempt in execution.attempts] == list(
        range(1, len(execution.attempts) + 1)
    )
    if event.policies.delivery is Delivery.AT_MOST_ONCE:
        assert len(execution.attempts) <= 1
        assert begun <= 1
    assert begun <= len(execution.attempts) + (execution.fate is Fate.PENDING)
    if execution.fate is Fate.SUCCEEDED:
        assert ended >= 1
    else:
        assert execution.fate in (Fate.PENDING, Fate.LOST), execution


def test_executions_of_a_killed_process_are_rescued_by_another(tmp_path: Path) -> None:
    victim: Any = Victim(tmp_path, 0)
    assert victim.read_for(30, b"ready")
    victim.read_for(1.5)
    victim.kill()
    with Scheduler(tmp_path / "k.db", registry=Registry(), environ={}, enabled=False) as scheduler:
        report = scheduler.keep_house()
        assert len(report.rescued.nodes) == 1
        (entry,) = scheduler.list_journal(kind="node_died").items
        assert entry.node == report.rescued.nodes[0]
        for fate in ("pending", "running"):
            held = scheduler.list_executions(fate=fate, limit=1000).items
            assert {execution.node for execution in held} <= {None}
