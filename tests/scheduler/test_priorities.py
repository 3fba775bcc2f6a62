"""Scarce slots: what is more important goes first, and what counts towards a limit waits."""

from __future__ import annotations

import random
import threading
from typing import Any

import pendulum

from kalends import Registry, Scheduler, current, once

LATER = pendulum.datetime(2999, 1, 1, tz="UTC")


def test_with_one_slot_the_more_important_go_first_and_equals_in_turn(tmp_path: Any) -> None:
    registry = Registry()
    ran: list[tuple[str, str]] = []
    begun, let_go, over = threading.Event(), threading.Event(), threading.Semaphore(0)

    def block() -> None:
        begun.set()
        assert let_go.wait(30)

    def tell() -> None:
        ran.append((current().event_name, current().execution_id))
        over.release()

    registry.register(block, "block")
    registry.register(tell, "tell")
    priorities = [-100, -1, 0, 0, 1, 5, 100] * 3
    random.Random(4).shuffle(priorities)
    with Scheduler(tmp_path / "kalends.db", registry=registry, environ={}, workers=1) as scheduler:
        scheduler.trigger_now(scheduler.schedule_event("block", once(LATER)).id)
        assert begun.wait(10)
        queued = []
        for place, priority in enumerate(priorities):
            event = scheduler.schedule_event(
                "tell", once(LATER), name=f"{place}", priority=priority
            )
            queued.append((priority, place, scheduler.trigger_now(event.id).id))
        let_go.set()
        for _ in queued:
            assert over.acquire(timeout=10)
    expected = sorted(queued, key=lambda one: (-one[0], one[1]))
    assert ran == [(f"{place}", execution_id) for _, place, execution_id in expected]
