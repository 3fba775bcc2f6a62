"""Attempts whose end is written while their job runs on: what the ledger says, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kalends.model import Fate
from kalends.storage.explanations import explain
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
    first = msgspec.structs.replace(before.attempts[0], still_running=False)
    assert ledger.execution(claim.id) == msgspec.structs.replace(
        before, attempts=(first, *before.attempts[1:])
    )


def test_an_attempt_that_was_followed_by_another_runs_on_until_its_job_ends(
    ledger: Ledger,
) -> None:
    claim = begin(ledger, retries=2, retry_delay=60.0, retry_jitter=0.0)
    first = timed_out(ledger, claim)
    ledger.record(first)

    def running() -> list[bool]:
        return [attempt.still_running for attempt in ledger.execution(claim.id).attempts]

    assert (running(), ledger.execution(claim.id).still_running) == ([True], False)
    assert ledger.verify().ok
    ledger.clock.advance(60.0)
    (again,) = ledger.claim().claims
    second = timed_out(ledger, again)
    ledger.record(second)
    assert running() == [True, True]
    told = ledger.run(ledger.here.leases.called_off).terminated
    assert [(one.execution_id, one.event_id, one.attempt) for one in told] == [
        (claim.id, claim.event_id, 1), (claim.id, claim.event_id, 2),
    ]  # fmt: skip
    assert ledger.run(ledger.there.leases.called_off).terminated == ()
    assert quiet(ledger.record(msgspec.structs.replace(first, late=True)))
    assert running() == [False, True]
    assert quiet(ledger.record(msgspec.structs.replace(first, late=True))), "twice"
    found = ledger.run(explain, ledger.here.executions, claim.event_id, claim.due, now=ledger.now)
    assert "The job of attempt 2 still runs: a thread cannot be stopped from outside." in (
        found.sentences
    )


@pytest.mark.parametrize("how", ["leave", "rescue"])
def test_nothing_still_runs_of_a_process_that_is_gone(ledger: Ledger, how: str) -> None:
    ledger.run(ledger.here.leases.register, now=ledger.now)
    ids = ledger.add(every(days=1)), ledger.add(every(days=1), retries=1, retry_delay=1e6)
    ledger.clock.advance(86_400.0)
    claim, retried = sorted(ledger.claim().claims, key=lambda one: ids.index(one.event_id))
    ledger.record(timed_out(ledger, claim), timed_out(ledger, retried))
    assert ledger.execution(claim.id).still_running
    assert ledger.execution(retried.id).attempts[0].still_running
    if how == "leave":
        ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=0)
    else:
        ledger.clock.advance(3600.0)
        ledger.run(ledger.there.leases.rescue, now=ledger.now)
    assert not ledger.execution(claim.id).still_running
    assert not ledger.execution(retried.id).attempts[0].still_running
