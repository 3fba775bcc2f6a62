"""Several schedulers on one database: each notices what the others commit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pendulum
import pytest

from kalends import Fate, Registry, Scheduler, once

pytestmark = pytest.mark.on_both

PAST, FAR = pendulum.datetime(2020, 1, 1, tz="UTC"), pendulum.datetime(2900, 1, 1, tz="UTC")
AGES = 1e9


def test_an_event_of_a_process_that_runs_nothing_is_run_at_once_by_another(
    home: Path | str,
) -> None:
    registry, ran = Registry(), threading.Event()
    registry.register(ran.set, "run")
    options: dict[str, Any] = {"registry": registry, "environ": {}, "max_sleep": 600.0}
    with (
        Scheduler(home, **options) as runs,
        Scheduler(home, enabled=False, **options) as asks,
    ):
        event = asks.schedule_event("run", once(PAST), catch_up_window=AGES)
        assert ran.wait(20), "long before it looks by itself"
        assert runs.get_event(event.id).name == event.name


def test_what_another_process_terminates_is_told_to_the_one_that_runs_it(
    home: Path | str, until: Callable[..., Any]
) -> None:
    registry, begun, let_go = Registry(), threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        assert let_go.wait(60)

    registry.register(block, "block")
    options: dict[str, Any] = {"registry": registry, "environ": {}, "lease": 600.0}
    with Scheduler(home, **options) as runs, Scheduler(home, **options) as other:
        event = runs.schedule_event("block", once(FAR))
        first = runs.trigger_now(event.id)
        assert begun.wait(20)
        begun.clear()
        second = other.trigger_now(event.id, overlap="terminate_other")
        assert begun.wait(20)
        assert runs.get_execution(first.id).fate is Fate.CANCELLED
        until(lambda: runs.status().in_flight == 0, 20.0)  # its slot is free, long before a beat
        let_go.set()
        until(lambda: other.get_execution(second.id).fate is Fate.SUCCEEDED)
