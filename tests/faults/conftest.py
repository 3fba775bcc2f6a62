"""Programs for tests that inject faults from outside of a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"


def run_program(name: str, *args: object, seconds: float = 60.0, **environ: str) -> Any:
    """Run a program to its end; what the last line it printed says, as JSON."""
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAMS / name), *map(str, args)],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
