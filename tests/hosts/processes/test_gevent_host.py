"""Inside a server that gevent has patched, before or after Kalends was imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_patched_servers_hub_is_never_blocked_by_the_scheduler(run: Run, moment: str) -> None:
    told = run("gevent_server.py", moment)
    gaps = told.pop("gaps")
    assert max(gaps.values()) < 1.0, gaps
    assert told == {
        "too_early": "NOT_INITIALIZED",
        "created": 20,
        "states": ["running"],
        "waits": [False],
        "clean": True,
        "waited": True,
        "late": "NOT_INITIALIZED",
        "killed": "stopped",
        "jobs_on_host_thread": False,
    }
