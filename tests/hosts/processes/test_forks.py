"""Forks beside a running scheduler: nothing hangs, no lock is lost, no instant runs twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")

Run = Callable[..., dict[str, Any]]


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
