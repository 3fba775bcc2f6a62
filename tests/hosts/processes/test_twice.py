"""Two schedulers in one process are strangers, and share a file as two processes would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("jobs", ["same", "other"])
@pytest.mark.parametrize("file", ["same", "other"])
def test_two_in_one_process_run_each_instant_once_and_miss_none(
    run: Run, file: str, jobs: str
) -> None:
    told = run("twice.py", file, jobs)
    owners = told.pop("owners")
    assert told == {
        "twice": 0,
        "missing": 0,
        "counts": [6, 6] if file == "same" else [3, 3],
        "nodes": 2,
    }
    if (file, jobs) == ("other", "other"):
        assert owners == ["first", "second"]
    elif jobs == "same":
        assert owners == ["first"]
