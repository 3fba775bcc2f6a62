"""Jobs that mean no good, on each executor of this process: each has its row, and what comes after
goes on. What only another process survives is in the tests of that executor.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "programs" / "hostile.py"

ROWS: dict[str, tuple[str, bool, Any]] = {
    "recurses": ("failed", False, "RecursionError"),
    "exits": ("failed", False, "SystemExit"),
    "prints": ("succeeded", False, 50),
    "returns_much": ("succeeded", False, "noted"),
    "sets_signals": ("failed", False, "ValueError"),
    "forks": ("succeeded", False, 7),
    "withstands": ("timed_out", True, "TimeoutError"),
    "blocks": ("timed_out", True, "TimeoutError"),
    "closes_streams": ("succeeded", False, None),
    # What comes after:
    "thread": ("succeeded", False, "on a thread"),
    "greenlet": ("succeeded", False, "in a greenlet"),
    "asyncio": ("succeeded", False, "in a coroutine"),
}
"""Fate, whether the job still runs, and how it ended."""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("executor", ["thread", "greenlet", "asyncio"])
def test_jobs_that_mean_no_good_end_in_the_ledger_and_the_scheduler_goes_on(
    executor: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", PROGRAM, executor, tmp_path / "a.db"],
        capture_output=True,
        timeout=200,
        check=False,
    )
    answer = done.stdout[-4096:].rpartition(b"\n")[2]
    assert done.returncode == 0, (answer, done.stderr[-4096:])
    told = json.loads(answer)
    assert {name: tuple(how) for name, how in told.items() if name in ROWS} == ROWS
    assert (told["verified"], told["state"], told["again"]) == (True, "running", "stopped")
