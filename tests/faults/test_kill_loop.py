"""A process killed at every write point, and at random, again and again, on one database.

The short form runs always: two kills for each point. The long one, thousands, where
``TEST_KILLS`` says how many (``tox -e kills``). The seed is printed; ``TEST_SEED`` repeats one.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from pathlib import Path

import apsw
import pytest
from tests.faults.chronos import Log, check
from tests.faults.conftest import run_program
from tests.listing import every_one

from kalends import Registry, Scheduler
from kalends.testing.probing import StorageStep

POINTS = {*StorageStep, "write", "torn", "sync", "synced", "job", "ended"}
KILLS = int(os.environ.get("TEST_KILLS", "28"))

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="pidfd"),
    pytest.mark.timeout(300 + 2 * KILLS),
]


def test_each_target_has_its_own_run_whenever_the_process_is_killed(tmp_path: Path) -> None:
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().getrandbits(32))
    sys.stdout.write(f"TEST_SEED={seed}\n")  # shown where the test fails
    struck = run_program("kill_loop.py", tmp_path, KILLS, seed, seconds=200.0 + 2.0 * KILLS)
    sys.stdout.write(f"{struck}\n")
    assert (tmp_path / "errors").read_text() == ""
    assert sum(struck.values()) == KILLS
    assert set(struck) >= POINTS, "each point has struck"
    connection = apsw.Connection(str(tmp_path / "k.db"))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    log = Log(tmp_path / "log")
    with Scheduler(tmp_path / "k.db", registry=Registry(), environ={}, enabled=False) as scheduler:
        targets = check(scheduler, log)
        assert [item.words for item in scheduler.verify(integrity=True).violations] == []
        for (event_id,) in log.acknowledged["event"]:
            assert scheduler.get_event(event_id).id == event_id
        for (execution_id,) in log.acknowledged["asked"]:
            assert scheduler.get_execution(execution_id).manual
        check_pauses(scheduler, log)
    sys.stdout.write(f"{KILLS} kills, {targets} targets, {log.begun.total()} runs\n")
    assert targets > 8, "there was something to match"


def check_pauses(scheduler: Scheduler, log: Log) -> None:
    """Each pause and resumption that was acknowledged is in the journal, and none twice."""
    asked = Counter((event, status) for event, status in log.acknowledged["wanted"])
    heard = Counter((event, status) for event, status in log.acknowledged["status"])
    for (event_id, status), count in asked.items():
        kind = "event_paused" if status == "paused" else "event_resumed"
        told = every_one(scheduler.list_journal, event_id=event_id, kind=kind)
        by_the_last_life = status == "active"  # which resumes what is paused
        assert heard[event_id, status] <= len(told) <= count + by_the_last_life
