"""The benchmarks' command, run as a user runs it: in a process, against the installed package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def bench() -> Callable[..., str]:
    """Runs ``python -P benchmarks …``; answers with what it printed."""

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-P", _ROOT / "benchmarks", *arguments],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return run
