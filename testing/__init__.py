"""What tests of scheduled code need: time that passes when told."""

from __future__ import annotations

from kalends.testing.clock import ManualClock

__all__ = ["ManualClock"]
