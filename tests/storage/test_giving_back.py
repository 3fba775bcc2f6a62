"""Claims that will not begin, and executions that belong to nobody: neither lost nor run twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kalends.clock import US, from_us
from kalends.model import EventStatus, Fate
from kalends.storage.models import EventRow
from kalends.storage.quarantine import quarantine
from kalends.triggers import every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


# -- claims that belong to nobody ---------------------------------------------------------------


def test_what_a_dead_node_left_is_claimed_again_as_a_further_attempt(ledger: Ledger) -> None:
    ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    first = ledger.claim(node=ledger.there).claims[0]
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    ledger.clock.advance(1.0)
    again = ledger.claim().claims[0]
    assert (again.id, again.attempt, again.due) == (first.id, 2, first.due)
    assert ledger.end(first, node=ledger.there) == (first.id,), (
        "the dead node's word counts no more"
    )
    assert ledger.end(again) == ()


def test_an_open_execution_of_a_paused_event_waits(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    ledger.claim(node=ledger.there)
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    ledger.set_status(event_id, "pause")
    assert ledger.claim().claims == ()
    ledger.set_status(event_id, "resume")
    assert [claim.attempt for claim in ledger.claim().claims] == [2]


def test_an_unreadable_event_keeps_what_was_attempted_until_it_is_released(ledger: Ledger) -> None:
    event_id = ledger.add(once(from_us(ledger.now + 10 * US)))
    ledger.clock.advance(10.0)
    ledger.claim(node=ledger.there)
    assert ledger.event(event_id).status is EventStatus.COMPLETED
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    policies = ledger.rows(EventRow.select(EventRow.policies))[0][0]
    spoil = EventRow.update(policies="?").where(EventRow.id == event_id)
    ledger.run(spoil.execute)
    assert ledger.claim().claims == ()
    assert ledger.event(event_id).status is EventStatus.QUARANTINED
    assert ledger.fates(event_id) == [(10, "pending", None)]
    ledger.run(EventRow.update(policies=policies).where(EventRow.id == event_id).execute)
    assert ledger.set_status(event_id, "release").status is EventStatus.COMPLETED
    assert [claim.attempt for claim in ledger.claim().claims] == [2]


@pytest.mark.parametrize("verb", ["pause", "quarantine", "delete"])
@pytest.mark.parametrize("first", ["given back", "parked"])
def test_what_had_not_begun_is_skipped_where_its_event_is_parked(
    ledger: Ledger, verb: str, first: str
) -> None:
    event_id = ledger.add(every(seconds=10), catch_up="earliest")
    ledger.clock.advance(35.0)
    held = ledger.claim().claims

    def give_back() -> None:
        ledger.run(ledger.here.claims.give_back, held, now=ledger.now)

    if first == "given back":
        give_back()
    if verb == "quarantine":
        ledger.run(quarantine, event_id, now=ledger.now, error="bad", ids=ledger.ids, node="there")
    else:
        ledger.set_status(event_id, verb)
    if first == "parked":
        give_back()
    reason = {"pause": "paused", "quarantine": "quarantined", "delete": "deleted"}[verb]
    assert ledger.fates(event_id) == [(10, "skipped", reason)]
    ledger.check_accounts()


# -- giving back -------------------------------------------------------------------------------


def test_a_claim_given_back_is_due_again_and_leaves_no_trace(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    held = ledger.claim().claims
    assert ledger.run(ledger.here.claims.give_back, held, now=ledger.now) == {event_id: ledger.now}
    assert ledger.fates(event_id) == []
    assert len(ledger.claim(node=ledger.there).claims) == 1
    assert ledger.run(ledger.here.claims.give_back, held, now=ledger.now) == {}, (
        "it is another's now"
    )
    assert ledger.fates(event_id) == [(10, "pending", None)]


def test_a_claim_behind_others_that_have_their_fate_stays_open(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), catch_up="earliest")
    ledger.clock.advance(35.0)
    held = ledger.claim().claims
    assert ledger.run(ledger.here.claims.give_back, held, now=ledger.now) == {}
    ledger.check_accounts()
    again = ledger.claim(node=ledger.there).claims
    assert [(claim.id, claim.attempt) for claim in again] == [(held[0].id, 1)]
    ledger.run(ledger.here.claims.give_back, held, now=ledger.now)
    assert ledger.claim().claims == (), "the other node holds it now"
    ledger.end(*again, node=ledger.there)
    execution = ledger.run(ledger.here.executions.get, held[0].id)
    assert ([attempt.number for attempt in execution.attempts], execution.fate) == (
        [1],
        Fate.SUCCEEDED,
    )
    assert ledger.event(event_id).next_due == from_us(ledger.now + 5 * US)


def test_several_claims_of_one_event_are_given_back_together(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), catch_up="all", overlap="allow_all")
    start = ledger.now
    ledger.clock.advance(35.0)
    held = ledger.claim().claims
    assert ledger.run(ledger.here.claims.give_back, held[1:], now=ledger.now) == {
        event_id: start + 20 * US
    }
    assert ledger.fates(event_id) == [(10, "pending", None)]
    ledger.check_accounts()


def test_an_earlier_attempt_given_back_late_does_not_free_a_later_one(ledger: Ledger) -> None:
    ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    first = ledger.claim().claims
    ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=1)
    again = ledger.claim().claims
    ledger.run(ledger.here.claims.give_back, first, now=ledger.now)
    assert ledger.claim().claims == ()
    assert ledger.end(*again) == ()
