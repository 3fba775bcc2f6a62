"""Programs for tests that inject faults from outside of a process, and disks that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.faults.disks import Disk, Rig

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


@pytest.fixture
def disk() -> Iterator[Disk]:
    default = apsw.vfs_names()[0]
    made = Disk()
    yield made
    made.heal()
    made.unregister()
    apsw.set_default_vfs(default)


@pytest.fixture
def make_rig(until: Callable[..., Any]) -> Iterator[Callable[[Path], Rig]]:
    made: list[Rig] = []

    def make(path: Path) -> Rig:
        made.append(Rig(path, until))
        return made[-1]

    yield make
    for rig in made:
        rig.scheduler.shutdown(5.0)
