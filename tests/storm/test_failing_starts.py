"""A child that fails to start for ever: tried ever more slowly, given up, and its owner hears."""

from __future__ import annotations

import threading
import time
from typing import Any

import pendulum
import pytest

from kalends import SchedulerFailed, every, once
from kalends.actors.event_manager import EventManagerActor
from kalends.actors.execution_tracker import ExecutionTrackerActor
from kalends.actors.housekeeper import HousekeeperActor
from kalends.actors.loop import LoopActor

FAR = pendulum.datetime(2090, 1, 1, tz="UTC")
CORE: dict[str, Any] = {
    "execution_tracker": ExecutionTrackerActor,
    "event_manager": EventManagerActor,
    "loop": LoopActor,
}
SETTINGS: dict[str, Any] = {
    "restart_intensity": 5,
    "restart_period": 60.0,
    "restart_backoff": 0.02,
    "restart_backoff_limit": 0.2,
}
PAUSES = [0.02, 0.04, 0.08, 0.16, 0.2]
"""What comes before each restart, give or take a tenth."""


class Failing:
    """From now on an actor does not start any more; when it was tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
        self.tried: list[float] = []
        monkeypatch.setattr(kind, "on_start", self._fail)

    def _fail(self, _actor: Any = None) -> None:
        self.tried.append(time.monotonic())
        raise RuntimeError("it does not start")

    def check(self, crashed: float) -> None:
        """It was tried so often, with pauses that grow, and is not tried any more."""
        assert len(self.tried) == SETTINGS["restart_intensity"]
        times = [crashed, *self.tried]
        for pause, one, two in zip(PAUSES, times, times[1:], strict=False):
            assert two - one >= pause * 0.89
        threading.Event().wait(0.3)
        assert len(self.tried) == SETTINGS["restart_intensity"]


@pytest.mark.parametrize("actor", CORE)
def test_an_actor_that_never_starts_again_is_given_up_after_growing_pauses_and_all_hear_of_it(
    make_storm: Any, tools: Any, monkeypatch: pytest.MonkeyPatch, actor: str
) -> None:
    heard: list[BaseException] = []
    storm = make_storm(**SETTINGS)
    storm.on_failure = heard.append
    scheduler = storm.scheduler
    event = scheduler.schedule_event("tick", once(FAR))
    failing = Failing(monkeypatch, CORE[actor])
    crashed = time.monotonic()
    storm.crash(actor)
    asked = [scheduler.events.get(event.id), scheduler.loop.trigger_now(event.id)]
    with pytest.raises(SchedulerFailed, match=f"gave up on {actor}.*it does not start"):
        scheduler.wait(timeout=tools.wait)
    failing.check(crashed)
    tools.until(lambda: heard)
    assert [type(error) for error in heard] == [SchedulerFailed]
    for future in asked:
        if future.error is not None:
            assert isinstance(future.error, SchedulerFailed)
    assert all(future.done for future in asked), "nobody waits for one that never comes"
    assert scheduler.status().state == "failed"
    assert scheduler.shutdown(1.0).clean


def test_a_housekeeper_that_never_starts_again_is_given_up_and_the_rest_goes_on(
    make_storm: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storm = make_storm(**SETTINGS)
    failing = Failing(monkeypatch, HousekeeperActor)
    crashed = time.monotonic()
    storm.crash("housekeeper")
    tools.until(lambda: storm.state("housekeeper") == "failed")
    failing.check(crashed)
    status = storm.scheduler.status()
    assert (status.state, status.failure) == ("degraded", None)
    assert "it does not start" in str(status.degraded)
    storm.scheduler.schedule_event("tick", every(seconds=0.05))
    tools.until(lambda: len(storm.ran) > 2)
    assert storm.scheduler.shutdown(1.0).clean


@pytest.mark.parametrize("actor", CORE)
def test_a_scheduler_whose_actor_does_not_start_does_not_start_and_leaves_nothing(
    make_storm: Any, monkeypatch: pytest.MonkeyPatch, actor: str
) -> None:
    storm = make_storm(**SETTINGS)
    scheduler = storm.scheduler
    scheduler.shutdown(1.0)
    before = set(threading.enumerate())
    with monkeypatch.context() as patch:
        failing = Failing(patch, CORE[actor])
        for _ in range(3):
            with pytest.raises(RuntimeError, match="it does not start"):
                scheduler.start()
            assert scheduler.status().state in ("new", "stopped")
        assert len(failing.tried) == 3, "a first start is not tried again"
    assert set(threading.enumerate()) <= before
    assert scheduler.start().status().state == "running"
