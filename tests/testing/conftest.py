"""What the tests of virtual time share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kalends import Registry
from kalends.testing import VirtualScheduler


@pytest.fixture(autouse=True)
def quiet(logged: list[dict[str, Any]]) -> None:
    """Kills and crashes are logged: not on the console."""


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    made.register(lambda: None, "tick")
    made.register(lambda: 1 / 0, "boom")
    return made


@pytest.fixture
def make(registry: Registry) -> Iterator[Callable[..., VirtualScheduler]]:
    """Start virtual schedulers that are ended with the test."""
    made: list[VirtualScheduler] = []

    def start(*args: Any, **kwargs: Any) -> VirtualScheduler:
        made.append(VirtualScheduler(*args, registry=registry, **kwargs))
        return made[-1].start()

    yield start
    for scheduler in made:
        scheduler.kill()


@pytest.fixture
def virtual(make: Callable[..., VirtualScheduler]) -> VirtualScheduler:
    return make()
