"""More messages than anybody can handle, and a handler that holds the hub."""

from __future__ import annotations

import os
import threading
from typing import Any

import pendulum
import pytest
from tests.storm.flood import LIMIT, Flood

from kalends import every, once
from kalends.actors.event_manager import EventManagerActor

FAR = pendulum.datetime(2090, 1, 1, tz="UTC")
MESSAGES = int(os.environ.get("TEST_FLOOD", "24000"))
"""In the short form; ``tox -e storms`` makes it a million."""


@pytest.mark.timeout(1800)
def test_of_a_flood_at_every_actor_what_is_taken_is_answered_and_the_rest_is_refused(
    make_storm: Any, tools: Any
) -> None:
    storm = make_storm(mailbox_limit=LIMIT, ask_timeout=60.0)
    scheduler = storm.scheduler
    far = scheduler.schedule_event("tick", once(FAR), name="far")
    clock = scheduler.schedule_event("tick", every(seconds=0.1), name="clock")
    tools.until(lambda: storm.ran)
    envelopes, memory = tools.envelopes(), tools.memory()
    ran = len(storm.ran)
    flood = Flood(storm, far, MESSAGES)
    flood.watch()
    fired = len(storm.ran) - ran
    # What is there does not depend on how many were sent: mailboxes, and what the threads hold.
    assert tools.memory() - memory < 64 * 2**20
    assert tools.envelopes() - envelopes < 4 * (LIMIT + 100)
    flood.end()
    # Threads may look at the same last free place; what is answered meanwhile is not counted.
    assert flood.most <= LIMIT + 8 + 64
    for name, cell in flood.cells.items():
        tools.until(lambda cell=cell: not cell.mailbox.unanswered and not len(cell.mailbox))
        taken = sum(pourer.taken for pourer in flood.pourers[name])
        refused = sum(pourer.refused for pourer in flood.pourers[name])
        assert taken + refused == 2 * (MESSAGES // 8)
        assert cell.mailbox.received - flood.before[name] >= taken, "nothing taken is lost"
        assert storm.restarts()[name] == 0
    refused = sum(pourer.refused for pourer in flood.all)
    assert refused > 0
    storm.settle()
    lateness = [
        item.lateness for item in storm.all_of(scheduler.list_executions, event_id=clock.id)
    ]
    told = f"{MESSAGES - refused} of {MESSAGES} taken, {fired} fires meanwhile"
    print(f"{told}, the latest by {max(lateness):.3f} s")  # noqa: T201  (for the long form)
    assert fired > 0, "it fires meanwhile"
    assert max(lateness) < 60.0
    assert storm.check_accounts() > 3
    assert scheduler.verify(integrity=True).ok


def test_a_flood_delays_no_restart(make_storm: Any, tools: Any) -> None:
    storm = make_storm(mailbox_limit=LIMIT)
    event = storm.scheduler.schedule_event("tick", once(FAR), name="far")
    flood = Flood(storm, event, 80_000_000, "ACTOR_CRASHED")
    for number in range(3):
        storm.crash("event_manager")
        tools.until(lambda number=number: storm.restarts()["event_manager"] == number + 1)
    flood.end()


def test_a_handler_that_holds_the_hub_is_reported_with_its_stack_and_all_goes_on(
    make_storm: Any, tools: Any, logged: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    storm = make_storm(stall_after=0.4)
    event = storm.scheduler.schedule_event("tick", once(FAR))
    original = EventManagerActor.preview
    pause = threading.Event()

    def a_handler_that_blocks(self: Any, message: Any) -> Any:
        pause.wait(1.5)
        return original(self, message)

    monkeypatch.setattr(EventManagerActor, "preview", a_handler_that_blocks)
    assert storm.scheduler.preview(event.id, 1) == (FAR,)
    tools.until(lambda: [entry for entry in logged if entry["event"] == "hub_stalled"])
    pause.wait(0.5)
    stalls = [entry for entry in logged if entry["event"] == "hub_stalled"]
    assert 2 <= len(stalls) <= 4, "once in each period of 0.4 s"
    assert all("a_handler_that_blocks" in entry["stack"] for entry in stalls)
    assert storm.scheduler.status().stalls == len(stalls)
    storm.scheduler.schedule_event("tick", every(seconds=0.05))
    tools.until(lambda: len(storm.ran) > 3)
    assert storm.scheduler.status().state == "running"
