"""Signals while the main thread waits for the scheduler's end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

Start = Callable[..., subprocess.Popen[str]]


def signalled(child: subprocess.Popen[str], number: int) -> Any:
    """What the program prints after it got the signal in its wait."""
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    out, err = child.communicate(timeout=20)
    assert (err, child.returncode) == ("", 0)
    return json.loads(out)


@pytest.mark.parametrize("host", ["plain", "patched"])
def test_a_handler_may_shut_down_the_scheduler_that_the_main_thread_waits_for(
    start: Start, database: Path, host: str
) -> None:
    assert signalled(start("signals.py", database, "handler", host), signal.SIGTERM) == {
        "ended": True,
        "interrupted": False,
        "state": "ended",
        "clean": [True, True],
        # A patched process runs the handler on its hub's greenlet, where nothing may wait.
        "under_way": [host == "patched"],
        "after": "stopped",
    }


@pytest.mark.parametrize("host", ["plain", "patched"])
def test_an_interrupt_ends_the_wait_and_not_the_scheduler(
    start: Start, database: Path, host: str
) -> None:
    assert signalled(start("signals.py", database, "interrupt", host), signal.SIGINT) == {
        "ended": None,
        "interrupted": True,
        "state": "running",
        "clean": [True, True],
        "under_way": [False],
        "after": "stopped",
    }
