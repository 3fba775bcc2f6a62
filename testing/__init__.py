"""Tests of schedules and of scheduled code: time that passes when told, and ledgers to look at."""

from __future__ import annotations

from kalends.testing.asserts import (
    assert_accounted,
    assert_executed,
    assert_next,
    assert_not_executed,
    assert_skipped,
)
from kalends.testing.clock import ManualClock
from kalends.testing.simulation import EventCounts, Simulation, simulate
from kalends.testing.virtual.executor import SimulatedFailure, sleep
from kalends.testing.virtual.process import ProcessKilled
from kalends.testing.virtual.scheduler import VirtualScheduler
from kalends.testing.virtual.storage import StorageStep
from kalends.testing.virtual.world import World

__all__ = [
    "EventCounts",
    "ManualClock",
    "ProcessKilled",
    "SimulatedFailure",
    "Simulation",
    "StorageStep",
    "VirtualScheduler",
    "World",
    "assert_accounted",
    "assert_executed",
    "assert_next",
    "assert_not_executed",
    "assert_skipped",
    "simulate",
    "sleep",
]
