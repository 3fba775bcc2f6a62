"""Executions that somebody cancels: what ends at once, what is marked, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import from_us
from kalends.errors import ExecutionEnded, ExecutionNotFound, TransitionError
from kalends.model import Fate, JournalEntry, Reason
from kalends.queries import JournalQuery
from kalends.retrying import Ask
from kalends.storage.cancelling import CancelAsked, Mark, cancel_execution, reason_of
from kalends.storage.journal import list_entries
from kalends.storage.models import ExecutionRow
from kalends.triggers import every
from kalends.work import Claim

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": 60.0, "retry_jitter": 0.0}


def begin(ledger: Ledger, *, node: Any = None, **policies: Any) -> Claim:
    """The claim of an event's first instant."""
    ledger.add(every(seconds=10), **policies)
    ledger.clock.advance(10.0)
    (claim,) = ledger.claim(node=node).claims
    return claim


def cancel(ledger: Ledger, execution_id: str, **who: Any) -> CancelAsked:
    stamp = ledger.here.events.stamp(ledger.now, who.get("author"), who.get("note"))
    return ledger.run(cancel_execution, execution_id, stamp)


def end(ledger: Ledger, execution_id: str) -> tuple[str, str | None]:
    execution = ledger.execution(execution_id)
    return execution.fate.value, None if execution.reason is None else execution.reason.value


def entries(ledger: Ledger, event_id: str) -> list[JournalEntry]:
    query = JournalQuery(event_id=event_id, kind="execution_cancelled")
    return list(ledger.run(list_entries, query).items)


# -- what nobody holds -------------------------------------------------------------------------


def test_what_waits_for_another_attempt_ends_and_keeps_the_attempts_it_had(ledger: Ledger) -> None:
    claim = begin(ledger, **RETRIES)
    ledger.fail(claim)
    asked = cancel(ledger, claim.id, author="ada", note="wrong file")
    assert (asked.event_id, asked.held_by, asked.changed) == (claim.event_id, None, True)
    assert (asked.event_name, asked.job) == (claim.event_name, claim.job)
    execution = ledger.execution(claim.id)
    assert (execution.fate, execution.reason) == (Fate.CANCELLED, Reason.REQUESTED)
    assert (execution.ended_at, execution.ready_at) == (from_us(ledger.now), None)
    assert [attempt.outcome.value for attempt in execution.attempts] == ["failed"]
    assert execution.cancel_requested
    ledger.clock.advance(60.0)
    assert claim.id not in [found.id for found in ledger.claim().claims]
    ledger.check_accounts()


def test_what_waits_in_a_line_ends_and_the_next_one_goes_on(ledger: Ledger) -> None:
    first = begin(ledger, overlap="buffer_all")
    for _ in range(2):
        ledger.clock.advance(10.0)
        ledger.claim()
    rows = ledger.rows(ExecutionRow.select(ExecutionRow.id).order_by(ExecutionRow.due))
    _, second, third = (execution_id for (execution_id,) in rows)
    assert cancel(ledger, second).held_by is None
    assert end(ledger, second) == ("cancelled", "requested")
    ledger.end(first)
    assert [claim.id for claim in ledger.claim().claims] == [third]
    ledger.check_accounts()


# -- what a node holds -------------------------------------------------------------------------


def test_what_a_node_holds_is_marked_and_found_by_that_node_alone(ledger: Ledger) -> None:
    claim = begin(ledger, node=ledger.there)
    assert cancel(ledger, claim.id) == CancelAsked(claim.event_id, held_by="there")
    assert end(ledger, claim.id) == ("pending", None)
    assert ledger.execution(claim.id).cancel_requested
    assert ledger.run(ledger.there.leases.called_off).told == (claim.id,)
    assert ledger.run(ledger.here.leases.called_off).told == ()


def test_a_job_that_stops_when_told_is_cancelled_because_it_was_asked_for(ledger: Ledger) -> None:
    claim = begin(ledger, **RETRIES)
    cancel(ledger, claim.id)
    recorded = ledger.fail(claim, "Stopped", fate=Fate.CANCELLED)
    assert recorded.fates == {claim.id: (Fate.CANCELLED, Reason.REQUESTED)}
    assert end(ledger, claim.id) == ("cancelled", "requested")
    assert ledger.run(ledger.here.leases.called_off).told == ()


@pytest.mark.parametrize(
    ("fate", "ask", "told"),
    [
        (Fate.FAILED, None, ("failed", None)),
        (Fate.TIMED_OUT, None, ("timed_out", None)),
        (Fate.FAILED, Ask(True, 1), ("failed", None)),
        (Fate.CANCELLED, Ask(False, 1), ("cancelled", "requested")),
    ],
)
def test_however_its_attempt_ends_none_follows(
    ledger: Ledger, fate: Fate, ask: Ask | None, told: tuple[str, str | None]
) -> None:
    claim = begin(ledger, **RETRIES)
    cancel(ledger, claim.id)
    assert ledger.fail(claim, "KeyError", fate=fate, ask=ask).ready_at is None
    assert end(ledger, claim.id) == told


def test_a_job_that_does_not_heed_it_has_succeeded(ledger: Ledger) -> None:
    claim = begin(ledger)
    cancel(ledger, claim.id)
    assert ledger.end(claim) == ()
    assert end(ledger, claim.id) == ("succeeded", None)
    assert ledger.execution(claim.id).cancel_requested


@pytest.mark.parametrize("attempts", [1, 2])
def test_what_finds_no_room_ends_as_cancelled_and_does_not_come_again(
    ledger: Ledger, attempts: int
) -> None:
    claim = begin(ledger, **RETRIES)
    if attempts == 2:
        ledger.fail(claim)
        ledger.clock.advance(60.0)
        claim = next(found for found in ledger.claim().claims if found.id == claim.id)
    cancel(ledger, claim.id)
    outcome = ledger.outcome(claim, Fate.SKIPPED, reason=Reason.QUEUE_FULL)
    assert ledger.record(outcome).ready_at is None
    assert end(ledger, claim.id) == ("cancelled", "requested")


def test_with_its_process_a_marked_execution_ends_and_is_not_attempted_again(
    ledger: Ledger,
) -> None:
    ledger.run(ledger.there.leases.enter, now=ledger.now)
    claim = begin(ledger, node=ledger.there, **RETRIES)
    cancel(ledger, claim.id)
    ledger.clock.advance(60.0)
    rescue = ledger.run(ledger.here.leases.rescue, now=ledger.now)
    assert (rescue.nodes, rescue.reopened, rescue.lost) == (("there",), 0, 0)
    assert end(ledger, claim.id) == ("cancelled", "requested")
    ledger.check_accounts()


@pytest.mark.parametrize("manual", [False, True])
def test_a_marked_claim_that_is_given_back_ends(ledger: Ledger, manual: bool) -> None:
    claim = begin(ledger)
    if manual:
        ledger.end(claim)
        claim = ledger.trigger(claim.event_id)
    other = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    kept = [found for found in ledger.claim().claims if found.event_id == other]
    cancel(ledger, claim.id)
    again = ledger.run(ledger.here.claims.give_back, [claim, *kept], now=ledger.now)
    assert set(again) == {other}, "what nobody called off is due again"
    assert end(ledger, claim.id) == ("cancelled", "requested")
    ledger.check_accounts()


def test_a_marked_claim_of_an_event_that_is_paused_was_cancelled_not_paused(
    ledger: Ledger,
) -> None:
    claim = begin(ledger)
    cancel(ledger, claim.id)
    ledger.set_status(claim.event_id, "pause", given_back=[claim])
    assert end(ledger, claim.id) == ("cancelled", "requested")


# -- for a newer instant, and because somebody asked -------------------------------------------


def test_somebody_who_asks_counts_more_than_a_newer_instant(ledger: Ledger) -> None:
    first = begin(ledger, overlap="cancel_other")
    ledger.clock.advance(10.0)
    assert ledger.claim().told == (first.id,)
    assert cancel(ledger, first.id).changed
    ledger.clock.advance(10.0)
    assert ledger.claim().told == (first.id,)
    ledger.fail(first, fate=Fate.CANCELLED)
    assert end(ledger, first.id) == ("cancelled", "requested")


def test_a_newer_instant_alone_is_told_as_an_overlap(ledger: Ledger) -> None:
    first = begin(ledger, overlap="cancel_other")
    ledger.clock.advance(10.0)
    ledger.claim()
    ledger.fail(first, fate=Fate.CANCELLED)
    assert end(ledger, first.id) == ("cancelled", "overlap")
    assert entries(ledger, first.event_id) == []


def test_each_mark_has_its_reason() -> None:
    assert [reason_of(mark) for mark in Mark] == [None, Reason.OVERLAP, Reason.REQUESTED]


# -- once, and too late ------------------------------------------------------------------------


def test_the_journal_says_who_asked_and_why_once(ledger: Ledger) -> None:
    claim = begin(ledger)
    cancel(ledger, claim.id, author="ada", note="wrong file")
    asked_at = ledger.now
    ledger.clock.advance(5.0)
    assert not cancel(ledger, claim.id, author="bob").changed
    (entry,) = entries(ledger, claim.event_id)
    assert (entry.author, entry.note, entry.at) == ("ada", "wrong file", from_us(asked_at))
    assert entry.details == {
        "execution_id": claim.id,
        "due": from_us(claim.due).isoformat(),
        "fate": "pending",
        "held_by": "here",
    }


def test_what_is_cancelled_already_stays_as_it_is(ledger: Ledger) -> None:
    claim = begin(ledger, **RETRIES)
    ledger.fail(claim)
    cancel(ledger, claim.id)
    before = ledger.execution(claim.id)
    ledger.clock.advance(5.0)
    assert cancel(ledger, claim.id) == CancelAsked(claim.event_id, changed=False)
    assert ledger.execution(claim.id) == before
    assert len(entries(ledger, claim.event_id)) == 1


@pytest.mark.parametrize(("fate", "word"), [(Fate.SUCCEEDED, "succeeded"), (Fate.FAILED, "failed")])
def test_what_has_ended_is_refused_with_its_fate(ledger: Ledger, fate: Fate, word: str) -> None:
    claim = begin(ledger)
    ledger.end(claim, fate=fate)
    with pytest.raises(ExecutionEnded, match=f"ended at .*: {word}") as caught:
        cancel(ledger, claim.id)
    assert isinstance(caught.value, TransitionError)
    assert caught.value.details == {
        "execution_id": claim.id,
        "fate": word,
        "reason": None,
        "ended_at": from_us(ledger.now).isoformat(),
    }
    assert not ledger.execution(claim.id).cancel_requested


def test_what_was_skipped_is_refused_with_the_reason(ledger: Ledger) -> None:
    claim = begin(ledger, overlap="buffer_one")
    ledger.clock.advance(10.0)
    ledger.claim()
    ledger.set_status(claim.event_id, "pause")
    rows = ledger.rows(ExecutionRow.select(ExecutionRow.id).where(ExecutionRow.fate == "skipped"))
    with pytest.raises(ExecutionEnded, match=r"skipped \(paused\)"):
        cancel(ledger, rows[0][0])


def test_what_does_not_exist_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ExecutionNotFound):
        cancel(ledger, "nothing")


def test_a_refusal_leaves_no_line_in_the_journal(ledger: Ledger) -> None:
    claim = begin(ledger)
    ledger.end(claim)
    with pytest.raises(ExecutionEnded):
        cancel(ledger, claim.id)
    assert entries(ledger, claim.event_id) == []
