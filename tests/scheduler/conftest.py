"""What several tests of whole schedulers need."""

from __future__ import annotations

import threading

import pendulum
import pytest

from kalends import Registry, Scheduler, once

PAST = pendulum.datetime(2020, 1, 1, tz="UTC")
AGES = 1e9
"""A catch-up window that reaches back to it."""


class Blocker:
    """A job that runs until it is told to end."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.registry.register(self.run, "block")
        self.begun = threading.Event()
        self.let_go = threading.Event()

    def run(self) -> None:
        self.begun.set()
        assert self.let_go.wait(60)

    def start(self, scheduler: Scheduler) -> str:
        event = scheduler.schedule_event("block", once(PAST), catch_up_window=AGES)
        assert self.begun.wait(10)
        return event.id


@pytest.fixture
def blocker() -> Blocker:
    return Blocker()
