"""The loop actor: its retries, and what it does with what it cannot run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import NotInitialized, StorageUnavailable, every, once
from kalends.messages import Drain, EventsChanged
from kalends.storage.claims import ClaimStore

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def test_a_refused_claim_is_tried_again_and_ever_more_slowly(
    virtual: Any, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=10)), name="t")
    really = ClaimStore.claim_due
    tried = threading.Semaphore(0)
    failing = [True]

    def claim_due(self: ClaimStore, *args: Any, **kwargs: Any) -> Any:
        tried.release()
        if failing[0]:
            raise StorageUnavailable("injected", reason="locked")
        return really(self, *args, **kwargs)

    monkeypatch.setattr(ClaimStore, "claim_due", claim_due)
    virtual.clock.advance(10)
    assert tried.acquire(timeout=10)
    tries = 1
    for _ in range(100):
        virtual.clock.advance(0.1)
        tries += tried.acquire(timeout=0.02)
    assert 3 <= tries <= 12  # 0.05, 0.1, 0.2 and so on up to 5 s
    assert virtual.ran == []
    failing[0] = False
    virtual.clock.advance(5)
    until(lambda: virtual.ran)
    virtual.settle()
    assert virtual.fates(event) == {10: "succeeded"}


def test_a_bug_in_a_claim_restarts_the_loop_and_the_instant_still_runs(
    make_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    virtual = make_virtual(restart_backoff=0.0).start()
    event = virtual.scheduler.schedule_event("tick", once(START.add(seconds=10)), name="t")
    really = ClaimStore.claim_due
    bugs = [ZeroDivisionError("a bug")]

    def claim_due(self: ClaimStore, *args: Any, **kwargs: Any) -> Any:
        if bugs:
            raise bugs.pop()
        return really(self, *args, **kwargs)

    virtual.settle()
    monkeypatch.setattr(ClaimStore, "claim_due", claim_due)
    virtual.clock.advance(10)
    until(lambda: virtual.ran)
    virtual.settle()
    assert virtual.fates(event) == {10: "succeeded"}
    loop = next(actor for actor in virtual.scheduler.status().actors if actor.name == "loop")
    assert loop.restarts == 1
    assert "ZeroDivisionError" in loop.last_crash.text


def test_events_for_which_the_loop_looks_in_time_anyway_do_not_wake_it(
    virtual: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    really = virtual.system.loop.tell_urgent
    schedule = virtual.scheduler.schedule_event
    schedule("tick", every(seconds=10, anchor=START), name="first")
    virtual.settle()

    def tell_urgent(message: object, **options: Any) -> None:
        told.append(message)
        really(message, **options)

    monkeypatch.setattr(virtual.system.loop, "tell_urgent", tell_urgent)
    later = schedule("tick", once(START.add(seconds=15)), name="later")
    for _ in range(20):
        schedule("tick", every(hours=1))
    virtual.settle()
    assert not [message for message in told if isinstance(message, EventsChanged)]
    sooner = schedule("tick", once(START.add(seconds=5)), name="sooner")
    virtual.settle()
    assert len([message for message in told if isinstance(message, EventsChanged)]) == 1
    virtual.advance(16)
    assert virtual.fates(sooner) == {5: "succeeded"}
    assert virtual.fates(later) == {15: "succeeded"}


def test_an_event_that_comes_while_a_claim_is_under_way_is_seen(
    virtual: Any, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    """The claim does not see it, and its answer, to look later, is given before the event is."""
    really = ClaimStore.claim_due
    made: list[Any] = []

    def claim_due(self: ClaimStore, *args: Any, **kwargs: Any) -> Any:
        claimed = really(self, *args, **kwargs)
        if not made:
            soon = once(START.add(seconds=12))
            made.append(virtual.scheduler.events.create("tick", soon, name="meanwhile"))
        return claimed

    virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="first")
    virtual.settle()
    monkeypatch.setattr(ClaimStore, "claim_due", claim_due)
    virtual.clock.advance(10)
    until(lambda: made and made[0].done)
    virtual.settle()
    virtual.advance(3)
    assert virtual.fates(made[0].get(timeout=5)) == {12: "succeeded"}


def test_after_a_drain_nothing_is_claimed_and_what_was_armed_is_due_again(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event("tick", every(seconds=10, anchor=START), name="t")
    virtual.advance(9.9)
    assert virtual.scheduler.count_executions(event_id=event.id, fate="pending") == 1
    virtual.system.loop.ref.ask(Drain(), timeout=10)
    assert virtual.scheduler.count_executions(event_id=event.id) == 0
    assert virtual.scheduler.get_event(event.id).next_due == START.add(seconds=10)
    virtual.clock.advance(100)
    with pytest.raises(NotInitialized):
        virtual.scheduler.trigger_now(event.id)
    assert virtual.ran == []


def test_what_a_shutdown_gave_back_runs_after_the_next_start(virtual: Any) -> None:
    event = virtual.scheduler.schedule_event(
        "tick", every(seconds=10, anchor=START), name="t", delivery="at_most_once"
    )
    virtual.advance(9.9)
    virtual.scheduler.shutdown()
    virtual.clock.advance(0.1)
    virtual.start()
    virtual.settle()
    assert virtual.fates(event) == {10: "succeeded"}
    (execution,) = virtual.executions(event)
    assert [attempt.number for attempt in execution.attempts] == [1]


def test_where_much_waits_each_claim_takes_more_of_it(
    make_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = make_virtual(claim_batch=2).start()
    really = ClaimStore.claim_due
    taken: list[tuple[int, int]] = []

    def claim_due(self: ClaimStore, *args: Any, **kwargs: Any) -> Any:
        claimed = really(self, *args, **kwargs)
        if claimed.claims and claimed.claims[0].attempt == 2:
            taken.append((kwargs["waiting_limit"], len(claimed.claims)))
        return claimed

    monkeypatch.setattr(ClaimStore, "claim_due", claim_due)
    rule = once(START.add(seconds=10))
    again: dict[str, Any] = {"retries": 1, "retry_delay": 10.0, "retry_jitter": 0.0}
    virtual.scheduler.schedule_events({"job": "boom", "trigger": rule, **again} for _ in range(50))
    virtual.advance(10)
    virtual.advance(10)
    assert taken == [(2, 2), (4, 4), (8, 8), (16, 16), (16, 16), (16, 4)]
    taken.clear()
    virtual.scheduler.schedule_events(
        {"job": "boom", "trigger": once(START.add(seconds=30)), **again} for _ in range(3)
    )
    virtual.advance(10)
    virtual.advance(10)
    assert taken == [(2, 2), (4, 1)]
