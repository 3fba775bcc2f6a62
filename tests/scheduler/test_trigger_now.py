"""Asking for an execution of an event that runs already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import Event, Fate, Reason, TransitionError, ValidationFailed, current, every

pytestmark = pytest.mark.on_both

START = pendulum.datetime(2027, 1, 1, tz="UTC")


@pytest.fixture
def busy(virtual: Any) -> Event:
    """An event whose job runs until it is let go."""
    virtual.clock.advance(5)
    event: Event = virtual.scheduler.schedule_event("hold", every(hours=1, anchor=START), name="h")
    virtual.scheduler.trigger_now(event.id)
    assert virtual.held.acquire(timeout=10)
    virtual.clock.advance(1)
    return event


def test_it_is_skipped_where_the_policy_says_so(virtual: Any, busy: Event) -> None:
    asked = virtual.scheduler.trigger_now(busy.id, author="ola")
    assert (asked.fate, asked.reason, asked.manual) == (Fate.SKIPPED, Reason.OVERLAP, True)
    entry = virtual.journal("event_triggered")[0]
    assert (entry.author, entry.details) == ("ola", {"execution_id": asked.id})


def test_it_may_wait_and_begins_when_the_other_has_ended(virtual: Any, busy: Event) -> None:
    asked = virtual.scheduler.trigger_now(busy.id, overlap="buffer_one")
    assert (asked.fate, asked.attempts) == (Fate.PENDING, ())
    virtual.let_go.set()
    assert virtual.ended(asked.id).fate == "succeeded", "at once, not at the next poll"
    assert len(virtual.ran) == 2


def test_it_may_run_beside_the_other(virtual: Any, busy: Event) -> None:
    asked = virtual.scheduler.trigger_now(busy.id, overlap="allow_all")
    assert virtual.held.acquire(timeout=10)
    virtual.let_go.set()
    assert virtual.ended(asked.id).fate == "succeeded"


@pytest.mark.parametrize("overlap", ["cancel_other", "terminate_other"])
def test_the_other_may_have_to_go(virtual: Any, overlap: str, until: Callable[..., Any]) -> None:
    told: list[int] = []

    def patient() -> None:
        if not told:
            told.append(0)
            until(lambda: current().cancelled)
            told.append(1)
            raise RuntimeError("stopped")

    virtual.registry.register(patient, "patient")
    virtual.clock.advance(5)
    event = virtual.scheduler.schedule_event("patient", every(hours=1, anchor=START))
    first = virtual.scheduler.trigger_now(event.id)
    until(lambda: told)
    virtual.clock.advance(1)
    asked = virtual.scheduler.trigger_now(event.id, overlap=overlap)
    assert virtual.ended(asked.id).fate == "succeeded"
    assert virtual.ended(first.id).fate == "cancelled"
    until(lambda: not virtual.scheduler.get_execution(first.id).still_running)
    assert told == [0, 1]


def test_what_makes_no_sense_is_refused(virtual: Any, busy: Event) -> None:
    with pytest.raises(ValidationFailed) as caught:
        virtual.scheduler.trigger_now(busy.id, overlap="bufer_one")
    assert "buffer_one" in caught.value.message
    assert virtual.scheduler.count_executions(event_id=busy.id) == 1


def test_a_quarantined_event_is_not_run(make_virtual: Callable[..., Any], until: Any) -> None:
    one, two = make_virtual(enabled=False).start(), make_virtual().start()
    one.registry.register(lambda: None, "strange")
    event = one.scheduler.schedule_event("strange", every(seconds=1, anchor=START))
    two.clock.advance(31)  # it hears of the event when it looks again
    until(lambda: two.scheduler.get_event(event.id).status == "quarantined")
    with pytest.raises(TransitionError):
        two.scheduler.trigger_now(event.id)
