"""Each actor crashed at each kind of message it takes, before and after it has handled it.

In virtual time, with the real actors under their real supervisors: the ledger is whole afterwards,
all that is due runs, and the shutdown ends.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.faults.every_message import KINDS, Bomb, cast, scheduler_in_a_story, story


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("actor", "message", "name"), KINDS, ids=[message.__name__ for _, message, _ in KINDS]
)
def test_a_crash_at_a_message_loses_nothing_and_all_goes_on(
    monkeypatch: pytest.MonkeyPatch, actor: Any, message: type, name: str, when: str
) -> None:
    bomb = Bomb(when)
    monkeypatch.setattr(actor, name, bomb.wrap(getattr(actor, name)))
    scheduler = scheduler_in_a_story().start()
    bomb.armed = True
    story(scheduler, cast(scheduler))
    scheduler.advance(3600)
    status = scheduler.status()
    assert status.state == "running"
    crashes = sum(item.restarts for item in status.actors)
    found = scheduler.verify()
    assert [item.words for item in found.violations] == []
    (ticking,) = scheduler.list_events(name="ticking").items
    assert ticking.next_due is not None
    assert ticking.next_due > scheduler.now, "all that was due has its fate"
    scheduler.shutdown(30.0)
    assert scheduler.status().state == "stopped"
    assert bomb.struck, "the story has such a message"
    refused = message.__name__ == "RunCleanup" and when == "after"  # there is no such rule
    assert crashes >= (message.__name__ != "Drain" and not refused)
