"""Attempts whose end is written while their job runs on: what the ledger says, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kalends.model import Fate
from kalends.storage.outcomes import Recorded
from kalends.triggers import every
from kalends.work import Claim, Outcome

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def quiet(recorded: Recorded) -> bool:
    """Nothing is rejected, paused or attempted again."""
    return (recorded.rejected, recorded.ready_at, recorded.paused) == ((), None, ())


def begin(ledger: Ledger, **policies: Any) -> Claim:
    """The claim of an event's first instant."""
    ledger.add(every(days=1), **policies)
    ledger.clock.advance(86_400.0)
    (claim,) = ledger.claim().claims
    return claim


def timed_out(ledger: Ledger, claim: Claim) -> Outcome:
    return ledger.outcome(claim, Fate.TIMED_OUT, kinds=("TimeoutError",), still_running=True)


def test_a_job_that_timed_out_still_runs_until_its_late_outcome_comes(ledger: Ledger) -> None:
    claim = begin(ledger)
    end = timed_out(ledger, claim)
    assert quiet(ledger.record(end))
    assert quiet(ledger.record(end)), "twice, as after a crash"
    assert ledger.execution(claim.id).still_running
    late = msgspec.structs.replace(end, fate=Fate.SUCCEEDED, late=True, ended_us=ledger.now + 5)
    assert quiet(ledger.record(late))
    over = ledger.execution(claim.id)
    assert (over.fate, over.still_running, over.duration) == (Fate.TIMED_OUT, False, 0.0)


def test_the_end_and_the_late_outcome_may_come_together(ledger: Ledger) -> None:
    claim = begin(ledger)
    end = timed_out(ledger, claim)
    assert quiet(ledger.record(end, msgspec.structs.replace(end, late=True)))
    assert not ledger.execution(claim.id).still_running


def test_a_late_outcome_of_an_attempt_that_was_tried_again_changes_nothing(
    ledger: Ledger,
) -> None:
    claim = begin(ledger, retries=1, retry_delay=60.0, retry_jitter=0.0)
    end = timed_out(ledger, claim)
    ledger.record(end)
    ledger.clock.advance(60.0)
    assert len(ledger.claim().claims) == 1
    before = ledger.execution(claim.id)
    assert quiet(ledger.record(msgspec.structs.replace(end, late=True)))
    assert ledger.execution(claim.id) == before


@pytest.mark.parametrize("how", ["leave", "rescue"])
def test_nothing_still_runs_of_a_process_that_is_gone(ledger: Ledger, how: str) -> None:
    ledger.run(ledger.here.leases.register, now=ledger.now)
    claim = begin(ledger)
    ledger.record(timed_out(ledger, claim))
    if how == "leave":
        ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=0)
    else:
        ledger.clock.advance(3600.0)
        ledger.run(ledger.there.leases.rescue, now=ledger.now)
    assert not ledger.execution(claim.id).still_running
