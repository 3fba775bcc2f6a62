"""After twenty lives in one process nothing is left of any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("host", ["plain", "patched"])
def test_twenty_starts_and_stops_leave_nothing_behind(run: Run, host: str) -> None:
    told = run("leftovers.py", host)
    assert told["after"] == told["before"]
    assert told["before"]["parts"] == 0
    assert told["troubles"] == []
    assert told["grown"] < 16_384, "KiB"
