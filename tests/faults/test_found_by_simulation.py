"""What the simulation has found, each as short as it can be told; the seeds are kept beside it."""

from __future__ import annotations

from typing import Any

import pendulum
import pytest

from kalends import Registry, StorageUnavailable, current, every, once
from kalends.testing import ProcessKilled, StorageStep, VirtualScheduler, sleep

START = pendulum.datetime(2027, 1, 1, tz="UTC")

pytestmark = pytest.mark.usefixtures("logged")


def scheduler_with(job: Any, **values: Any) -> VirtualScheduler:
    registry = Registry()
    registry.register(job, "job")
    return VirtualScheduler(start=START, registry=registry, **values)


def test_a_beat_while_a_shutdown_lets_go_of_a_job_does_not_take_it_for_not_begun() -> None:
    ran: list[int] = []

    def endless() -> None:
        ran.append(current().attempt)
        sleep(1000)

    scheduler = scheduler_with(endless, lease=15.0).start()
    scheduler.schedule_event("job", once(START.add(seconds=1)), delivery="at_most_once")
    scheduler.advance(3)
    assert scheduler.shutdown(7.0).abandoned  # at its end the lease is renewed
    scheduler.start().advance(60)
    (execution,) = scheduler.list_executions().items
    assert (execution.fate, ran) == ("lost", [1])
    scheduler.kill()


def test_what_a_process_began_counts_also_where_the_clock_is_set_back_before_the_next_one() -> None:
    ran: list[int] = []
    scheduler = scheduler_with(lambda: ran.append(current().attempt)).start()
    scheduler.schedule_event("job", once(START.add(seconds=10)), delivery="at_most_once")

    def die(step: StorageStep) -> None:
        if ran:
            scheduler.kill()

    scheduler.kill()
    scheduler.probe = die  # when the outcome is to be recorded
    scheduler.start()
    with pytest.raises(ProcessKilled):
        scheduler.advance(20)
    scheduler.probe = None
    scheduler.jump(-60)
    scheduler.start().advance(120)
    (execution,) = scheduler.list_executions().items
    assert (execution.fate, ran) == ("lost", [1])
    scheduler.kill()


def test_a_clock_that_is_set_back_while_nobody_lives_makes_no_ledger_wrong() -> None:
    scheduler = scheduler_with(lambda: sleep(1000)).start()
    scheduler.schedule_event("job", every(seconds=10, anchor=START))
    scheduler.advance(15)
    scheduler.kill()
    scheduler.jump(-3600)
    scheduler.start()
    assert scheduler.list_executions().items[0].attempts[0].outcome == "lost"
    assert [item.words for item in scheduler.verify().violations] == []
    scheduler.kill()


def test_a_jump_of_the_clock_is_written_down_when_the_database_is_back() -> None:
    scheduler = scheduler_with(lambda: None)

    def refuse(step: StorageStep) -> None:
        if away and step is StorageStep.BEGIN:
            raise StorageUnavailable("the database is locked", reason="locked")

    away: list[bool] = []
    scheduler.probe = refuse
    scheduler.start()
    away.append(True)
    scheduler.jump(-3600).advance(20)
    away.clear()
    scheduler.advance(20)
    (entry,) = scheduler.list_journal(kind="clock_jumped").items
    assert entry.details["seconds"] == -3600
    scheduler.kill()
