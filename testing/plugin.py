"""A pytest plugin: a scheduler in virtual time as a fixture.

Not loaded by itself: write ``pytest_plugins = ["kalends.testing.plugin"]`` in your top-level
``conftest.py``. Fixtures: ``kalends_registry`` (the jobs; override it to give your own),
``kalends_clock`` and ``kalends_scheduler``, which is started and ended with the test. The marker
``kalends(...)`` gives keywords of ``VirtualScheduler``: ``start`` (an aware datetime, or an ISO
text), ``seed``, ``durations``, ``failures`` and settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kalends.errors import ValidationFailed
from kalends.jobs.registry import Registry, default_registry
from kalends.testing.asserts import instant_of
from kalends.testing.clock import ManualClock
from kalends.testing.virtual.scheduler import VirtualScheduler
from kalends.testing.virtual.world import START

__all__ = ["kalends_clock", "kalends_registry", "kalends_scheduler", "pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "kalends(start=..., seed=..., durations=..., failures=..., **settings):"
        " how this test's kalends_scheduler is made",
    )


@pytest.fixture
def kalends_registry() -> Registry:
    """The jobs of the scheduler: what ``@kalends.job`` has registered."""
    return default_registry


@pytest.fixture
def kalends_clock(request: pytest.FixtureRequest) -> ManualClock:
    """The clock of the scheduler, at the marker's ``start``: 2027-01-01T00:00Z if it has none."""
    start = _options(request).get("start", START)
    return ManualClock(instant_of(start, "UTC", "start"))


@pytest.fixture
def kalends_scheduler(
    request: pytest.FixtureRequest, kalends_clock: ManualClock, kalends_registry: Registry
) -> Iterator[VirtualScheduler]:
    """A scheduler in virtual time, on a database in memory, running."""
    options = {key: value for key, value in _options(request).items() if key != "start"}
    scheduler = VirtualScheduler(clock=kalends_clock, registry=kalends_registry, **options)
    scheduler.start()
    yield scheduler
    scheduler.kill()


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The keywords of all markers; those of the nearest one win."""
    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("kalends"))):
        if marker.args:
            raise ValidationFailed("the marker kalends takes keywords only", path="kalends")
        options |= marker.kwargs
    return options
