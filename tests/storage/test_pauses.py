"""Pauses with an end: they end by themselves, and cover what was due before and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.errors import KalendsError, TransitionError, ValidationFailed
from kalends.model import EventStatus, JournalEntry
from kalends.queries import JournalQuery
from kalends.storage.journal import list_entries
from kalends.storage.models import EventRow
from kalends.triggers import every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def pause(ledger: Ledger, event_id: str, seconds: float | None, **more: Any) -> None:
    until = None if seconds is None else ledger.now + round(seconds * US)
    ledger.set_status(event_id, "pause", until=until, **more)


def last_entry(ledger: Ledger, event_id: str) -> JournalEntry:
    return ledger.run(list_entries, JournalQuery(event_id=event_id)).items[0]


def test_a_pause_ends_by_itself_and_what_was_due_before_is_skipped(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), note="runbook 7")
    pause(ledger, event_id, 30.0, note="disk swap", author="ola")
    until = from_us(ledger.now + 30 * US)
    assert ledger.event(event_id).paused_until == until
    entry = last_entry(ledger, event_id)
    assert (entry.author, entry.note, entry.details) == (
        "ola", "disk swap", {"until": until.isoformat()},
    )  # fmt: skip
    ledger.clock.advance(29.999)
    assert ledger.claim().claims == ()
    assert ledger.event(event_id).status is EventStatus.PAUSED
    ledger.clock.advance(0.001)
    (claim,) = ledger.claim().claims
    assert claim.due == ledger.now, "the instant at which the pause ends is not of the pause"
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "paused")]
    event = ledger.event(event_id)
    assert (event.status, event.paused_until, event.note) == (EventStatus.ACTIVE, None, "runbook 7")
    entry = last_entry(ledger, event_id)
    assert (entry.kind, entry.author, entry.note, entry.details) == (
        "event_resumed", "kalends", "the pause ended", {"until": until.isoformat()},
    )  # fmt: skip
    ledger.check_accounts()


def test_a_pause_that_ended_in_an_outage_covers_nothing_after_its_end(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), catch_up="all")
    pause(ledger, event_id, 25.0)
    ledger.clock.advance(57.0)
    (claim,) = ledger.claim().claims
    assert (claim.due - ledger.now) // US == -27
    assert [due for due, _, _ in ledger.fates(event_id)] == [30, 40, 50]
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "paused")]
    ledger.check_accounts()


@pytest.mark.parametrize("verb", ["resume", "pause", "delete", "update"])
def test_whoever_changes_the_event_first_finds_the_pause_ended(ledger: Ledger, verb: str) -> None:
    event_id = ledger.add(every(seconds=10))
    pause(ledger, event_id, 25.0)
    ledger.clock.advance(32.0)
    if verb == "update":
        changes = Changes(trigger=every(seconds=7))
        ledger.run(
            ledger.here.events.update, event_id, changes,
            now=ledger.now, version=None, author=None, given_back=(),
        )  # fmt: skip
    else:
        ledger.set_status(event_id, verb)
    ledger.set_status(event_id, "pause") if verb == "resume" else None
    reasons = {"delete": "deleted", "update": "superseded"}
    rest = [(30, 30, 1, "skipped", reasons[verb])] if verb in reasons else []
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "paused"), *rest]
    ledger.check_accounts()


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_pause_that_would_have_ended_is_refused(ledger: Ledger, seconds: float) -> None:
    event_id = ledger.add(every(seconds=10))
    with pytest.raises(ValidationFailed) as caught:
        pause(ledger, event_id, seconds)
    assert caught.value.details["path"] == "until"
    assert ledger.event(event_id).version == 1


def test_pausing_again_replaces_the_end_and_the_note(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    pause(ledger, event_id, 15.0, note="a")
    pause(ledger, event_id, 35.0, note="b")
    assert ledger.event(event_id).note == "b"
    ledger.clock.advance(20.0)
    assert ledger.claim().claims == ()
    pause(ledger, event_id, None)
    ledger.clock.advance(1000.0)
    assert ledger.claim().claims == ()
    event = ledger.event(event_id)
    assert (event.status, event.paused_until) == (EventStatus.PAUSED, None)
    ledger.check_accounts()


def test_resuming_before_the_end_ends_the_pause_then(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    pause(ledger, event_id, 500.0)
    ledger.clock.advance(12.0)
    assert ledger.set_status(event_id, "resume").paused_until is None
    ledger.clock.advance(8.0)
    assert len(ledger.claim().claims) == 1
    assert ledger.gaps(event_id) == [(10, 10, 1, "skipped", "paused")]


def test_an_event_whose_rule_ended_in_its_pause_has_completed(ledger: Ledger) -> None:
    event_id = ledger.add(once(from_us(ledger.now + 10 * US)))
    pause(ledger, event_id, 20.0)
    ledger.clock.advance(20.0)
    ledger.claim()
    event = ledger.event(event_id)
    assert (event.status, event.next_due) == (EventStatus.COMPLETED, None)
    assert ledger.gaps(event_id) == [(10, 10, 1, "skipped", "paused")]
    with pytest.raises(TransitionError):
        pause(ledger, event_id, 20.0)


def test_an_event_that_cannot_go_on_is_quarantined_and_can_be_repaired(ledger: Ledger) -> None:
    one, two = ledger.add(every(seconds=10)), ledger.add(every(seconds=10))
    for event_id in (one, two):
        pause(ledger, event_id, 20.0)
        ledger.run(EventRow.update(trigger="{}").where(EventRow.id == event_id).execute)
    ledger.clock.advance(20.0)
    assert ledger.run(
        ledger.here.events.update, two, Changes(trigger=every(seconds=5)),
        now=ledger.now, version=None, author=None, given_back=(),
    ).status is EventStatus.ACTIVE  # fmt: skip
    ledger.claim()
    event = ledger.event(one)
    assert (event.status, event.paused_until) == (EventStatus.QUARANTINED, None)
    entry = last_entry(ledger, one)
    assert entry.kind == "event_quarantined"
    assert entry.details["error"].startswith("ValidationFailed")
    with pytest.raises(KalendsError):
        ledger.set_status(one, "release")


def test_the_next_look_is_at_the_end_of_a_pause_and_not_before(ledger: Ledger) -> None:
    event_id = ledger.add(every(hours=1))
    pause(ledger, event_id, 20.0)
    end = ledger.now + 20 * US
    assert ledger.claim().next_due == end
    claimed = ledger.claim(ahead=30.0)
    assert (claimed.blocked_until, claimed.claims) == (end, ())
    assert ledger.event(event_id).status is EventStatus.PAUSED


def test_more_pauses_than_a_batch_end_in_the_next_one(ledger: Ledger) -> None:
    events = [ledger.add(every(hours=1)) for _ in range(3)]
    for place, event_id in enumerate(events):
        pause(ledger, event_id, 10.0 + place)
    ledger.clock.advance(20.0)
    assert ledger.claim(limit=2).more
    active = [ledger.event(event_id).status is EventStatus.ACTIVE for event_id in events]
    assert active == [True, True, False]
    assert not ledger.claim(limit=2).more
    assert ledger.event(events[2]).status is EventStatus.ACTIVE


def test_at_the_very_end_of_a_pause_it_has_ended_by_itself(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    pause(ledger, event_id, 30.0)
    ledger.clock.advance(30.0)
    ledger.set_status(event_id, "delete")
    assert ledger.gaps(event_id) == [
        (10, 20, 2, "skipped", "paused"),
        (30, 30, 1, "skipped", "deleted"),
    ]


def test_the_last_microsecond_of_a_pause_is_of_the_pause(ledger: Ledger) -> None:
    end = ledger.now + 30 * US
    event_id = ledger.add(once(from_us(end - 1)) | once(from_us(end + 60 * US)))
    pause(ledger, event_id, 30.0)
    ledger.clock.advance(30.0)
    assert ledger.claim().claims == ()
    assert ledger.event(event_id).next_due == from_us(end + 60 * US)
    ledger.check_accounts()
