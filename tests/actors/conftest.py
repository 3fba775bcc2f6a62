"""A hub for one test, and a quiet log that is kept."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

from kalends.actors.hub import Hub
from kalends.clock import SystemClock


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """What was logged, and nothing of it printed."""
    entries: list[dict[str, Any]] = []

    def capture(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> str:
        entries.append(dict(entry))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[capture])
    yield entries
    structlog.configure(**before)


@pytest.fixture
def hub(logged: list[dict[str, Any]]) -> Iterator[Hub]:
    made = Hub("test-hub", SystemClock(), stall_after=30.0)
    made.start()
    yield made
    assert made.stop(5.0)
