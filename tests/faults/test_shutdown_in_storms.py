"""A shutdown in the middle of a storm: every message of a kind crashes whoever takes it.

In virtual time, where a bound is a bound: it ends in time, says what it left, and nothing runs
afterwards. The next start accounts for all of it.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.faults.every_message import KINDS, Bomb, cast, scheduler_in_a_story, story

from kalends.outlook import OverdueCause
from kalends.shutdown import CLOSE_TIMEOUT

pytestmark = pytest.mark.exhaustive

PATIENCE = 2.0
BOUND = PATIENCE + 2 * CLOSE_TIMEOUT
"""Virtual seconds: no step of a shutdown waits for another one's time to be up."""


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("intensity", [3, 1000], ids=["given up", "crashing on"])
@pytest.mark.parametrize(
    ("actor", "message", "name"), KINDS, ids=[message.__name__ for _, message, _ in KINDS]
)
def test_a_shutdown_amid_crashes_ends_within_its_bound_and_tells_the_truth(
    monkeypatch: pytest.MonkeyPatch, actor: Any, message: type, name: str, intensity: int
) -> None:
    bomb = Bomb("before", float("inf"))
    monkeypatch.setattr(actor, name, bomb.wrap(getattr(actor, name)))
    scheduler = scheduler_in_a_story(restart_intensity=intensity, restart_backoff_limit=5.0).start()
    events = cast(scheduler)
    bomb.armed = True
    story(scheduler, events)
    system = scheduler._system
    assert system is not None
    assert bomb.struck or message.__name__ == "Drain"
    running = {item.execution_id for item in system.runner.running()}
    began = scheduler.clock.monotonic()
    report = scheduler.shutdown(PATIENCE)
    assert scheduler.clock.monotonic() - began <= BOUND
    assert scheduler.status().state == "stopped"
    assert not report.under_way
    assert set(report.abandoned) <= running
    assert report.unrecorded == len(system.outbox)
    assert not system.runner.in_flight
    bomb.armed = False
    scheduler.advance(900)
    assert system.hub.stalls == 0
    scheduler.start()
    scheduler.advance(3600)
    assert scheduler.status().state == "running"
    assert [item.words for item in scheduler.verify().violations] == []
    waiting = [item for item in scheduler.overdue() if item.cause is not OverdueCause.PARKED]
    assert waiting == []
    scheduler.shutdown(30.0)
