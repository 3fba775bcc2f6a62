"""A hub for one test, and a quiet log that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kalends.actors.hub import Hub
from kalends.clock import SystemClock


@pytest.fixture
def hub(logged: list[dict[str, Any]]) -> Iterator[Hub]:
    made = Hub("test-hub", SystemClock(), stall_after=30.0)
    made.start()
    yield made
    assert made.stop(5.0)
