"""Real processes that hold a scheduler each, in a host of every kind.

Each program under ``programs/`` is run with warnings as errors and prints one JSON line. What it
reports is asserted on by the test; a program that fails shows its traceback there.
"""

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

PROGRAMS = Path(__file__).with_name("programs")

STRICT = (
    "-P",
    "-W",
    "error",
    # Python 3.12 warns of every fork beside threads, which is what some programs are here for.
    "-W",
    "ignore:This process (pid=:DeprecationWarning",
)

Start = Callable[..., subprocess.Popen[str]]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "kalends.db"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program with warnings as errors; it is killed at the end, should it live then."""
    children: list[subprocess.Popen[str]] = []

    def start_program(program: str, *arguments: object) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, *STRICT, str(PROGRAMS / program), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={key: value for key, value in os.environ.items() if "KALENDS" not in key},
        )
        children.append(child)
        return child

    yield start_program
    for child in children:
        child.kill()
        child.communicate(timeout=10)


@pytest.fixture
def run(start: Start, database: Path) -> Run:
    """Run a program on the database; what it printed, after nothing went wrong."""

    def run_program(program: str, *arguments: object) -> dict[str, Any]:
        child = start(program, database, *arguments)
        out, err = child.communicate(timeout=50)
        assert (err, child.returncode) == ("", 0), out + err
        told: dict[str, Any] = json.loads(out)
        check_sound(database)
        return told

    return run_program


def check_sound(database: Path) -> None:
    """SQLite finds no fault in the file."""
    connection = apsw.Connection(str(database))
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()
