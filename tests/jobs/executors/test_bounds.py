"""What executors may be made of, and what they refuse."""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kalends.errors import ValidationFailed
from kalends.jobs.executors import (
    AsyncioExecutor,
    GreenletExecutor,
    ProcessExecutor,
    ThreadExecutor,
)
from kalends.testing.executor_contract import RecordingOwner

NO_NAMES = ["", "  ", "a\n", "\ud800", "x" * 201, None, 3, b"thread"]
NO_TIMES = [-5, -0.001, math.nan, math.inf, 1e9, "x", True, [1]]


@pytest.mark.parametrize(
    "kind", [ThreadExecutor, ProcessExecutor, GreenletExecutor, AsyncioExecutor]
)
@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_what_is_no_name_is_refused(kind: Any, name: Any) -> None:
    with pytest.raises(ValidationFailed) as refused:
        kind(1, name=name)
    assert refused.value.details["path"] == "name"


@pytest.mark.parametrize("kind", [ThreadExecutor, GreenletExecutor, AsyncioExecutor])
@pytest.mark.parametrize("context", [3, "x", contextvars.Context])
def test_what_is_no_context_is_refused(kind: Any, context: Any) -> None:
    with pytest.raises(ValidationFailed) as refused:
        kind(1, context=context)
    assert refused.value.details["path"] == "context"


@pytest.mark.parametrize("kind", [ThreadExecutor, ProcessExecutor])
@pytest.mark.parametrize("seconds", NO_TIMES, ids=repr)
def test_what_is_no_time_to_wait_for_work_is_refused(kind: Any, seconds: Any) -> None:
    with pytest.raises(ValidationFailed) as refused:
        kind(1, idle_seconds=seconds)
    assert refused.value.details["path"] == "idle_seconds"


@pytest.mark.parametrize("kind", [ThreadExecutor, ProcessExecutor])
@pytest.mark.parametrize("seconds", [None, 0, 2.5])
def test_a_fresh_one_waits_for_work_as_long(kind: Any, seconds: float | None) -> None:
    made = kind(1, idle_seconds=seconds).fresh("other")
    assert made._idle_seconds == seconds


def test_threads_may_wait_for_work_for_ever(until: Callable[..., Any]) -> None:
    owner, executor = RecordingOwner(), ThreadExecutor(3, idle_seconds=None)
    executor.start()
    together = threading.Barrier(3)
    executor.submit([owner.task(n, lambda: together.wait(10) and None) for n in range(3)])
    owner.wait(3)
    until(lambda: len(executor._idle) == 3)
    executor.submit([owner.task(n, lambda: together.wait(10) and None) for n in range(3, 6)])
    owner.wait(6)
    assert executor.threads == 3
    assert executor.stop(10) == []
