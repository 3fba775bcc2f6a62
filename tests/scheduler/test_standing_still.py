"""Downtime and suspensions, as the journal of a whole scheduler tells them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum

from kalends import every

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def test_a_machine_that_slept_is_in_the_journal_and_no_jump(
    virtual: Any, until: Callable[..., Any]
) -> None:
    event = virtual.scheduler.schedule_event("tick", every(minutes=10, anchor=START))
    virtual.clock.suspend(3600)
    virtual.advance(30)
    (entry,) = until(lambda: virtual.journal("suspended"))
    assert entry.details == {"since": START.add(seconds=30).isoformat(), "seconds": 3600.0}
    assert (entry.node, entry.at) == (virtual.scheduler.status().node, START.add(seconds=3630))
    assert virtual.journal("clock_jumped") == []
    assert virtual.fates(event) == {
        **dict.fromkeys(range(600, 3600, 600), "coalesced"), 3600: "succeeded",
    }  # fmt: skip


def test_the_time_between_two_lives_is_downtime(virtual: Any) -> None:
    virtual.scheduler.shutdown()
    virtual.clock.advance(600)
    virtual.start()
    (entry,) = virtual.journal("downtime")
    assert entry.details == {"since": START.isoformat(), "seconds": 600.0}


def test_a_scheduler_that_runs_nothing_ends_no_downtime(
    virtual: Any, make_virtual: Callable[..., Any]
) -> None:
    virtual.scheduler.shutdown()
    virtual.clock.advance(300)
    watcher = make_virtual(enabled=False).start()
    assert watcher.journal("downtime") == []
    virtual.clock.advance(300)
    virtual.start()
    (entry,) = watcher.journal("downtime")
    assert entry.details["seconds"] == 600.0
