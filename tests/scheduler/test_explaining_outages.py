"""What ``explain`` says after a process was killed in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pendulum
import pytest

from kalends import Fate, Reason, Registry, cron
from kalends.testing import VirtualScheduler

NINE = pendulum.datetime(2027, 1, 4, 9, tz="UTC")


@pytest.fixture
def make() -> Iterator[Callable[..., VirtualScheduler]]:
    made: list[VirtualScheduler] = []

    def make(minutes: int) -> VirtualScheduler:
        registry = Registry()
        registry.register(lambda: None, "sync")
        before = NINE.subtract(minutes=1)
        scheduler = VirtualScheduler(registry=registry, start=before, durations=minutes * 60)
        made.append(scheduler)
        return scheduler.start()

    yield make
    for scheduler in made:
        scheduler.shutdown()


def killed_for_an_hour(scheduler: VirtualScheduler, overlap: str = "skip") -> str:
    """The event; the process was killed at 9:02, in its run, and is back at 10:02."""
    event = scheduler.schedule_event("sync", cron("*/10 * * * *"), name="sync", overlap=overlap)
    scheduler.advance_to(NINE.add(minutes=2))
    scheduler.kill()
    scheduler.clock.advance(3600)
    scheduler.start().advance(1)
    return event.id


def test_the_newest_one_that_was_cancelled_is_not_said_to_have_run(
    make: Callable[..., VirtualScheduler],
) -> None:
    scheduler = make(15)
    event_id = killed_for_an_hour(scheduler, overlap="buffer_one")
    told = str(scheduler.explain(event_id, NINE.add(minutes=20)))
    assert "the instant 2027-01-04T10:00:00Z is to run for it, and waits" in told
    (waiting,) = scheduler.list_executions(fate="pending").items
    scheduler.cancel_execution(waiting.id)
    found = scheduler.explain(event_id, NINE.add(minutes=20))
    assert "10:00:00Z was to run for it, and was cancelled (catch_up='latest')" in str(found)
    assert found.into is not None
    assert (found.into.fate, found.into.execution_id) == (Fate.CANCELLED, waiting.id)


def test_by_default_the_repeated_run_keeps_the_newest_one_from_running(
    make: Callable[..., VirtualScheduler],
) -> None:
    scheduler = make(5)
    event_id = killed_for_an_hour(scheduler)
    found = scheduler.explain(event_id, NINE.add(minutes=60))
    assert found.reason is Reason.OVERLAP
    assert "an earlier execution of the event had not ended, and overlap='skip'" in str(found)


def test_buffered_the_newest_one_runs_after_the_repeated_attempt(
    make: Callable[..., VirtualScheduler],
) -> None:
    scheduler = make(5)
    killed_for_an_hour(scheduler, overlap="buffer_one")
    scheduler.advance_to(NINE.add(minutes=75))
    ended = scheduler.list_executions(descending=False).items
    assert [run.due for run in ended if run.fate is Fate.SUCCEEDED] == [NINE, NINE.add(minutes=60)]
