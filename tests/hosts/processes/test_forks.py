"""Forks beside a running scheduler: nothing hangs, no lock is lost, no instant runs twice."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")

Run = Callable[..., dict[str, Any]]
Start = Callable[..., Popen[str]]


def test_children_are_refused_at_once_end_as_they_like_and_run_their_own(
    run: Run, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    told = run("forks.py", notes)
    assert told == {
        "refused": [[[], 0], [[], 3]],
        # Without locks of its own, a child would write where its parent does.
        "own": [[{"state": "running", "locks": True}, 0]] * 4
        + [[{"state": "running", "locks": True}, 3]],
        "left": ["running", 3],
        "carried": "FORKED",
        "state": "running",
        "lost": 0,
    }
    ran = [line.split() for line in notes.read_text().splitlines()]
    assert len({process for process, _, _ in ran}) >= 2
    assert max(Counter((event, due) for _, event, due in ran).values()) == 1


@pytest.fixture(params=["sqlite", "postgres"])
def anywhere(request: pytest.FixtureRequest, database: Path) -> Iterator[Path | str]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield database
        return
    server = request.getfixturevalue("postgres")
    url = server.lend()
    yield url
    server.take_back(url)


def test_a_patched_host_hears_of_children_that_are_faster_than_its_fork(
    start: Start, anywhere: Path | str
) -> None:
    out, err = start("gevent_forks.py", anywhere).communicate(timeout=50)
    assert err == ""
    assert json.loads(out) == {
        "children": [["FORKED", 0], [None, 0], ["running", 0], ["FORKED", 0]],
        "state": "running",
        "lost": 0,
        "violations": [],
    }
