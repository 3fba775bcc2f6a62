"""What looks odd in a ledger and is as it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.model import JournalKind
from kalends.policies import Overlap
from kalends.storage.backfills import plan_backfill
from kalends.storage.journal import write_entry
from kalends.triggers import every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


@pytest.fixture(autouse=True)
def _leases(ledger: Ledger) -> None:
    for node in (ledger.here, ledger.there):
        ledger.run(node.leases.register, now=ledger.now)


@pytest.mark.parametrize("change", ["delete", "update"])
def test_an_instant_that_was_to_run_for_others_and_went_with_its_rule(
    ledger: Ledger, change: str
) -> None:
    event_id = ledger.add(every(seconds=2))
    ledger.clock.advance(4.5)
    held = ledger.claim().claims
    ledger.clock.jump(-1.5)
    ledger.run(write_entry, JournalKind.CLOCK_JUMPED, now=ledger.now, ids=ledger.ids, seconds=-1.5)
    if change == "delete":
        ledger.set_status(event_id, "delete", given_back=held)
    else:
        ledger.run(
            ledger.here.events.update, event_id, Changes(trigger=every(seconds=7)),
            now=ledger.now, version=None, author=None, given_back=held,
        )  # fmt: skip
    assert ledger.gaps(event_id) == [(2, 2, 1, "skipped", "coalesced")]
    assert ledger.verify().violations == ()


def test_a_job_that_begins_on_another_node_before_that_hears_of_its_end(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    (claim,) = ledger.claim(node=ledger.there).claims
    ledger.clock.advance(1.0)
    ledger.trigger(event_id, overlap=Overlap.TERMINATE_OTHER)
    ledger.clock.advance(3.0)
    ledger.end(claim, node=ledger.there)
    assert ledger.execution(claim.id).fate == "cancelled"
    assert ledger.verify().violations == ()


def test_an_event_whose_rule_ended_in_its_pause(ledger: Ledger) -> None:
    event_id = ledger.add(once(from_us(ledger.now + 10 * US)))
    ledger.set_status(event_id, "pause")
    ledger.clock.advance(20.0)
    stamp = ledger.here.events.stamp(ledger.now, None)
    ledger.run(plan_backfill, event_id, ledger.now - 15 * US, ledger.now, 10, stamp)
    assert ledger.event(event_id).next_due is None
    assert ledger.verify().violations == ()
    assert ledger.set_status(event_id, "resume").status == "completed"
    assert len(ledger.claim().claims) == 1
    assert ledger.verify().violations == ()
