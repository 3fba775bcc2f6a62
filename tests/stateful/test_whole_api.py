"""The whole public API, in any order, with crashes and restarts, against a model."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.stateful.machine import WholeApi

FULL = os.environ.get("TEST_FULL") == "1"


def test_whatever_is_done_in_whatever_order_is_answered_kept_and_accounted_for() -> None:
    run_state_machine_as_test(
        WholeApi,
        settings=settings(
            max_examples=1000 if FULL else 10,
            stateful_step_count=60 if FULL else 25,
            derandomize=not FULL,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
