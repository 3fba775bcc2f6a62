"""Instants left out once, instants moved, and how both are undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.errors import EventNotFound, TransitionError, ValidationFailed
from kalends.model import Event, EventStatus, Execution, Fate, JournalEntry
from kalends.queries import JournalQuery
from kalends.storage.foretold import move_next, skip_next
from kalends.storage.journal import list_entries
from kalends.storage.models import ExecutionRow
from kalends.storage.quarantine import quarantine
from kalends.triggers import Trigger, every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def skip(ledger: Ledger, event_id: str, count: int = 1, **more: Any) -> list[float]:
    """The instants that were skipped, in seconds from now."""
    stamp = ledger.here.events.stamp(ledger.now, "ola", "holiday")
    instants = ledger.run(skip_next, event_id, count, stamp, **more)
    return [(instant - ledger.now) / US for instant in instants]


def move(ledger: Ledger, event_id: str, seconds: float, **more: Any) -> Execution:
    """Move the next instant to ``seconds`` from now."""
    stamp = ledger.here.events.stamp(ledger.now, "ola", "visit")
    return ledger.run(move_next, event_id, ledger.now + round(seconds * US), stamp, **more)


def reschedule(ledger: Ledger, event_id: str, trigger: Trigger) -> Event:
    return ledger.run(
        ledger.here.events.update, event_id, Changes(trigger=trigger),
        now=ledger.now, version=None, author=None, given_back=(),
    )  # fmt: skip


def last_entry(ledger: Ledger, event_id: str) -> JournalEntry:
    return ledger.run(list_entries, JournalQuery(event_id=event_id)).items[0]


# -- skipping ----------------------------------------------------------------------------------


def test_the_next_instants_are_left_out_and_the_one_after_them_runs(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    start = ledger.now
    assert skip(ledger, event_id, 2) == [10, 20]
    event = ledger.event(event_id)
    assert (event.next_due, event.version) == (from_us(start + 30 * US), 1)
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "excluded_once")]
    entry = last_entry(ledger, event_id)
    assert (entry.kind, entry.author, entry.note) == ("event_skipped", "ola", "holiday")
    assert entry.details == {"instants": [from_us(start + at * US).isoformat() for at in (10, 20)]}
    ledger.clock.advance(30.0)
    (claim,) = ledger.claim().claims
    assert claim.due == start + 30 * US
    ledger.check_accounts()


def test_skipping_again_goes_on_from_there(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    skip(ledger, event_id)
    assert skip(ledger, event_id) == [20]
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "excluded_once")]


def test_a_rule_that_ends_within_the_count_completes_its_event(ledger: Ledger) -> None:
    start = from_us(ledger.now)
    event_id = ledger.add(every(seconds=10).between(start, start.add(seconds=25)))
    assert skip(ledger, event_id, 100) == [10, 20]
    event = ledger.event(event_id)
    assert (event.status, event.next_due) == (EventStatus.COMPLETED, None)
    ledger.check_accounts()


def test_a_claim_made_ahead_is_taken_back_and_its_instant_is_the_one_skipped(
    ledger: Ledger,
) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(9.0)
    held = ledger.claim(ahead=2.0).claims
    assert skip(ledger, event_id, given_back=held) == [1]
    assert ledger.fates(event_id) == []
    ledger.check_accounts()


@pytest.mark.parametrize("verb", ["pause", "quarantine", "complete", "delete"])
def test_only_of_an_active_event_something_is_told(ledger: Ledger, verb: str) -> None:
    event_id = ledger.add(once(from_us(ledger.now + 10 * US)))
    if verb == "complete":
        ledger.clock.advance(10.0)
        ledger.claim()
    elif verb == "quarantine":
        ledger.run(quarantine, event_id, now=ledger.now, error="bad", ids=ledger.ids, node="here")
    else:
        ledger.set_status(event_id, verb)
    for tell in (lambda: skip(ledger, event_id), lambda: move(ledger, event_id, 5.0)):
        with pytest.raises(EventNotFound if verb == "delete" else TransitionError):
            tell()


# -- moving ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [4.0, 10.0, 33.0])
def test_the_next_instant_runs_when_it_was_moved_to(ledger: Ledger, seconds: float) -> None:
    event_id = ledger.add(every(seconds=10).jitter(3))
    start = ledger.now
    execution = move(ledger, event_id, seconds)
    due, to = from_us(start + 10 * US), from_us(start + round(seconds * US))
    assert (execution.due, execution.moved_to, execution.ready_at) == (due, to, to)
    assert (execution.fate, execution.attempts, execution.manual) == (Fate.PENDING, (), False)
    assert ledger.event(event_id).next_due == due.add(seconds=10)
    entry = last_entry(ledger, event_id)
    assert (entry.kind, entry.author, entry.note) == ("event_moved", "ola", "visit")
    assert entry.details == {
        "due": due.isoformat(), "moved_to": to.isoformat(), "execution_id": execution.id,
    }  # fmt: skip
    ledger.check_accounts()
    skip(ledger, event_id, 5)
    assert ledger.claim().next_due == start + round(seconds * US), "the loop is to wake for it"
    ledger.clock.advance(seconds - 0.001)
    assert ledger.claim().claims == ()
    ledger.clock.advance(0.001)
    (claim,) = ledger.claim().claims
    assert (claim.id, claim.due, claim.attempt, claim.manual) == (
        execution.id, start + 10 * US, 1, False,
    )  # fmt: skip
    assert claim.due + claim.delay_us == ledger.now, "to the instant, without the rule's jitter"
    ledger.end(claim)
    done = ledger.run(ledger.here.executions.get, claim.id)
    assert (done.fate, done.lateness, done.moved_to) == (Fate.SUCCEEDED, 0.0, to)
    ledger.check_accounts()


def test_an_instant_is_not_moved_into_the_past(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    with pytest.raises(ValidationFailed) as caught:
        move(ledger, event_id, -0.001)
    assert caught.value.details["path"] == "to"
    move(ledger, event_id, 0.0)
    assert len(ledger.claim().claims) == 1


def test_the_last_instant_may_be_moved_and_runs_though_the_event_has_completed(
    ledger: Ledger,
) -> None:
    event_id = ledger.add(once(from_us(ledger.now + 10 * US)))
    move(ledger, event_id, 50.0)
    assert ledger.event(event_id).status is EventStatus.COMPLETED
    ledger.clock.advance(50.0)
    assert len(ledger.claim().claims) == 1
    ledger.check_accounts()


def test_what_was_moved_overlaps_nothing_until_it_begins(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    move(ledger, event_id, 500.0)
    ledger.clock.advance(20.0)
    (claim,) = ledger.claim().claims
    assert claim.due == ledger.now
    assert ledger.gaps(event_id) == []


def test_a_claim_of_what_was_moved_is_given_back_to_the_instant_it_was_moved_to(
    ledger: Ledger,
) -> None:
    event_id = ledger.add(every(seconds=10))
    execution = move(ledger, event_id, 4.0)
    ledger.clock.advance(3.0)
    held = ledger.claim(ahead=2.0).claims
    assert [claim.due + claim.delay_us for claim in held] == [ledger.now + US]
    ledger.run(ledger.here.claims.give_back, held, now=ledger.now)
    assert ledger.event(event_id).next_due == execution.due.add(seconds=10)
    again = ledger.claim(ahead=2.0, node=ledger.there).claims
    assert [(claim.id, claim.attempt) for claim in again] == [(execution.id, 1)]
    assert again[0].due + again[0].delay_us == ledger.now + US
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=0)
    waiting = ledger.run(ledger.here.executions.get, execution.id)
    assert (waiting.attempts, waiting.ready_at) == ((), execution.moved_to)
    ledger.check_accounts()


def test_what_began_early_counts_as_an_attempt_where_its_process_dies(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=100), delivery="at_most_once")
    move(ledger, event_id, 4.0)
    ledger.clock.advance(4.0)
    assert len(ledger.claim(node=ledger.there).claims) == 1
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    assert ledger.fates(event_id) == [(100, "lost", "process_died")]


# -- parked ------------------------------------------------------------------------------------


def park(ledger: Ledger, event_id: str, verb: str) -> None:
    if verb == "pause":
        ledger.set_status(event_id, "pause")
    else:
        ledger.run(quarantine, event_id, now=ledger.now, error="bad", ids=ledger.ids, node="here")


@pytest.mark.parametrize(
    ("verb", "back", "reason"),
    [("pause", "resume", "paused"), ("quarantine", "release", "quarantined")],
)
def test_a_moved_instant_outlasts_a_parking_that_ends_before_it(
    ledger: Ledger, verb: str, back: str, reason: str
) -> None:
    event_id = ledger.add(every(seconds=10))
    move(ledger, event_id, 25.0)
    move(ledger, event_id, 45.0)
    park(ledger, event_id, verb)
    ledger.clock.advance(30.0)
    assert ledger.claim().claims == ()
    ledger.set_status(event_id, back)
    assert ledger.fates(event_id) == [(10, "skipped", reason), (20, "pending", None)]
    assert ledger.gaps(event_id) == [(30, 30, 1, "skipped", reason)]
    ledger.clock.advance(15.0)
    assert sorted(claim.due for claim in ledger.claim().claims)[0] == ledger.now - 25 * US
    ledger.check_accounts()


# -- undoing -----------------------------------------------------------------------------------


def test_a_new_rule_undoes_what_was_told_of_instants_ahead(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    skip(ledger, event_id, 3)
    move(ledger, event_id, 500.0)
    move(ledger, event_id, 5.0)
    skip(ledger, event_id, 50)
    ledger.clock.advance(22.0)
    # One that was moved ahead of its time has run: somebody asked for it, and it stays.
    (early,) = ledger.claim().claims
    ledger.end(early)
    event = reschedule(ledger, event_id, every(seconds=7))
    assert event.next_due == from_us(ledger.now + 7 * US), "the new rule is not held back"
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "excluded_once")]
    assert ledger.fates(event_id) == [(50, "succeeded", None)]
    assert ledger.run(ledger.here.executions.get, early.id).manual
    assert last_entry(ledger, event_id).details["undone"] == {"skipped": 51, "moved": 2}
    assert ledger.check_accounts() == 2
    ledger.clock.advance(28.0)
    ledger.claim()
    ledger.check_accounts()


def test_an_update_of_anything_else_keeps_what_was_told(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    skip(ledger, event_id, 3)
    ledger.run(
        ledger.here.events.update, event_id, Changes(note="x"),
        now=ledger.now, version=None, author=None, given_back=(),
    )  # fmt: skip
    assert ledger.gaps(event_id) == [(10, 30, 3, "skipped", "excluded_once")]
    assert "undone" not in last_entry(ledger, event_id).details


def test_a_deletion_undoes_it_too(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    skip(ledger, event_id, 3)
    move(ledger, event_id, 500.0)
    ledger.clock.advance(12.0)
    ledger.set_status(event_id, "delete")
    assert ledger.gaps(event_id) == [(10, 10, 1, "skipped", "excluded_once")]
    assert ledger.fates(event_id) == []
    assert last_entry(ledger, event_id).details == {"undone": {"skipped": 2, "moved": 1}}
    ledger.check_accounts()


def test_what_another_process_has_claimed_ahead_keeps_its_fate_and_all_before_it(
    ledger: Ledger,
) -> None:
    event_id = ledger.add(every(seconds=10))
    skip(ledger, event_id, 2)
    ledger.claim(ahead=30.0, node=ledger.there)
    skip(ledger, event_id, 2)
    event = reschedule(ledger, event_id, every(seconds=7))
    assert event.next_due == from_us(ledger.now + 35 * US)
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "excluded_once")]
    assert ledger.fates(event_id) == [(30, "pending", None)]
    assert ledger.check_accounts() == 3


def test_a_completed_event_whose_last_instant_was_skipped_can_begin_anew(ledger: Ledger) -> None:
    event_id = ledger.add(once(from_us(ledger.now + 100 * US)))
    skip(ledger, event_id)
    event = reschedule(ledger, event_id, every(seconds=7))
    assert (event.status, event.next_due) == (EventStatus.ACTIVE, from_us(ledger.now + 7 * US))
    assert ledger.gaps(event_id) == []
    ledger.check_accounts()


def test_a_moved_instant_whose_nominal_time_has_passed_stays(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    move(ledger, event_id, 50.0)
    ledger.clock.advance(12.0)
    reschedule(ledger, event_id, every(seconds=700))
    assert ledger.fates(event_id) == [(10, "pending", None)]
    ledger.clock.advance(38.0)
    assert len(ledger.claim().claims) == 1
    assert ledger.rows(ExecutionRow.select(ExecutionRow.manual)) == [(0,)]
    ledger.check_accounts()
