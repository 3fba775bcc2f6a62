"""What a job sees of its execution, and what its log lines carry."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, MutableMapping
from typing import Any

import pendulum
import pytest
import structlog

from kalends.clock import SystemClock
from kalends.errors import NotInitialized, ValidationFailed
from kalends.jobs.context import ExecutionContext, current, enter
from kalends.jobs.logbook import Keeps, Logbook
from kalends.testing import ManualClock


class Token:
    cancelled = False
    deadline_us: int | None = None

    def __init__(self) -> None:
        self.book = Logbook(SystemClock(), Keeps())

    def remaining(self) -> float | None:
        return None

    def logbook(self) -> Logbook:
        return self.book


@pytest.fixture
def context(claim: Callable[..., Any]) -> ExecutionContext:
    return ExecutionContext(claim("x7", due=1_800_000_000_000_000, attempt=2, manual=True), Token())


def test_outside_of_a_job_there_is_no_current_execution() -> None:
    with pytest.raises(NotInitialized, match="inside a job"):
        current()


def test_a_context_tells_which_execution_it_is(context: ExecutionContext) -> None:
    assert (context.execution_id, context.idempotency_key) == ("x7", "x7")
    assert (context.event_id, context.event_name) == ("event-of-x7", "nightly")
    assert (context.job, context.attempt, context.manual) == ("noop", 2, True)
    assert context.due == pendulum.datetime(2027, 1, 15, 8, tz="UTC")
    assert isinstance(context.due, pendulum.DateTime)
    assert "x7" in repr(context)


def test_it_shows_when_the_job_is_asked_to_stop(claim: Callable[..., Any]) -> None:
    token = Token()
    context = ExecutionContext(claim(), token)
    assert not context.cancelled
    token.cancelled = True
    assert context.cancelled


def test_it_cannot_be_changed(context: ExecutionContext) -> None:
    with pytest.raises(AttributeError):
        context.attempt = 3  # type: ignore[misc]  # what a job must not do


def test_its_logger_and_every_other_carry_event_execution_and_attempt(
    rig: Any, claim: Callable[..., Any]
) -> None:
    lines: list[dict[str, Any]] = []

    def keep(_: Any, __: str, line: MutableMapping[str, Any]) -> Any:
        lines.append(dict(line))
        raise structlog.DropEvent

    def talks() -> None:
        current().log.info("by_context", n=1)
        structlog.get_logger().info("by_any_logger")

    rig.job("talks")(talks)
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    try:
        rig.runner.submit([claim("x7", job="talks", attempt=2)])
        rig.wait(1)
    finally:
        structlog.reset_defaults()
    bound = {
        "event_id": "event-of-x7",
        "event_name": "nightly",
        "execution_id": "x7",
        "attempt": 2,
    }
    assert lines == [bound | {"event": "by_context", "n": 1}, bound | {"event": "by_any_logger"}]


def test_what_one_job_binds_the_next_does_not_see(rig: Any, claim: Callable[..., Any]) -> None:
    def binds() -> list[str]:
        seen = sorted(structlog.contextvars.get_contextvars())
        structlog.contextvars.bind_contextvars(mine=1)
        return seen

    rig.job("binds")(binds)
    rig.runner.submit([claim("a", job="binds"), claim("b", job="binds")])
    first, second = rig.wait(2)
    expected = '["attempt","event_id","event_name","execution_id"]'
    assert first.result == second.result == expected


def test_entering_lasts_as_long_as_its_contextvars_context(
    context: ExecutionContext, claim: Callable[..., Any]
) -> None:
    def inside() -> ExecutionContext:
        enter(context, claim())
        return current()

    assert contextvars.copy_context().run(inside) is context
    with pytest.raises(NotInitialized):
        current()


def test_what_it_tells_goes_into_the_logbook(claim: Callable[..., Any]) -> None:
    token = Token()
    context = ExecutionContext(claim(), token)
    context.progress(0.5, "half")
    assert (token.book.told.progress, token.book.told.note) == (0.5, "half")
    with pytest.raises(ValidationFailed, match="fraction"):
        context.progress(1.5)


def test_a_job_without_a_time_out_has_any_time(rig: Any, claim: Callable[..., Any]) -> None:
    left: list[float | None] = []
    rig.job("ask")(lambda: left.append(current().remaining()))
    rig.runner.submit([claim(job="ask"), claim("x2", job="ask", timeout_us=90_000_000)])
    rig.wait(2)
    assert None in left
    (seconds,) = (found for found in left if found is not None)
    assert 80.0 < seconds <= 90.0


def test_what_is_left_goes_by_monotonic_time_and_ends_at_nothing(
    make_rig: Callable[..., Any], claim: Callable[..., Any]
) -> None:
    clock = ManualClock(0)
    rig = make_rig(clock)
    left: list[float | None] = []
    begun, go = threading.Event(), threading.Event()

    def job() -> None:
        for _ in range(3):
            left.append(current().remaining())
            begun.set()
            assert go.wait(10)
            go.clear()

    rig.job("ask")(job)
    rig.runner.submit([claim(job="ask", timeout_us=60_000_000)])
    moves: list[Callable[[], object]] = [
        lambda: clock.jump(-3600.0), lambda: clock.advance(45.0), lambda: None,
    ]  # fmt: skip
    for move in moves:
        assert begun.wait(10)
        begun.clear()
        move()
        go.set()
    rig.wait(1)
    assert left == [60.0, 60.0, 15.0]
