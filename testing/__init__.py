"""What tests of scheduled code need: time that passes when told."""

from __future__ import annotations

from kalends.testing.clock import ManualClock
from kalends.testing.virtual.executor import SimulatedFailure, sleep
from kalends.testing.virtual.process import ProcessKilled
from kalends.testing.virtual.scheduler import VirtualScheduler
from kalends.testing.virtual.storage import StorageStep
from kalends.testing.virtual.world import World

__all__ = [
    "ManualClock",
    "ProcessKilled",
    "SimulatedFailure",
    "StorageStep",
    "VirtualScheduler",
    "World",
    "sleep",
]
