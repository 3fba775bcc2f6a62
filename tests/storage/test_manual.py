"""Asking for an execution: what the event's overlap policy, or another one, makes of the wish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kalends.errors import TransitionError, ValidationFailed
from kalends.model import Execution, Fate, Reason
from kalends.policies import Overlap
from kalends.queries import JournalQuery
from kalends.storage.journal import list_entries
from kalends.storage.manual import Triggered
from kalends.storage.quarantine import quarantine
from kalends.triggers import every

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

    from kalends.work import Claim

SERIAL = [overlap for overlap in Overlap if overlap is not Overlap.ALLOW_ALL]


def ask(ledger: Ledger, event_id: str, overlap: Overlap | None = None) -> Triggered:
    return ledger.run(
        ledger.here.claims.trigger_now, event_id, now=ledger.now, overlap=overlap, author="ola"
    )


def shown(ledger: Ledger, execution_id: str) -> Execution:
    return ledger.run(ledger.here.executions.get, execution_id)


def busy(ledger: Ledger, overlap: Overlap = Overlap.SKIP, **policies: int) -> tuple[str, Claim]:
    """An event that runs, and what runs."""
    event_id = ledger.add(every(hours=1), overlap=overlap, **policies)
    ledger.clock.advance(3600.0)
    (claim,) = ledger.claim().claims
    ledger.clock.advance(1.0)
    return event_id, claim


@pytest.mark.parametrize("override", [None, *Overlap])
def test_where_nothing_runs_it_begins_at_once(ledger: Ledger, override: Overlap | None) -> None:
    event_id = ledger.add(every(hours=1))
    made = ask(ledger, event_id, override)
    (claim,) = made.claims
    assert (claim.id, claim.manual, claim.attempt) == (made.execution_id, True, 1)
    assert claim.serial is (override is not Overlap.ALLOW_ALL)
    entry = ledger.run(list_entries, JournalQuery(event_id=event_id)).items[0]
    asked = {} if override is None else {"overlap": override.value}
    assert (entry.kind, entry.author) == ("event_triggered", "ola")
    assert entry.details == {"execution_id": claim.id, **asked}
    assert ledger.check_accounts() == 0


@pytest.mark.parametrize(("own", "override"), [(Overlap.SKIP, None), (Overlap.BUFFER_ALL, "skip")])
def test_under_skip_it_is_skipped_with_a_row(
    ledger: Ledger, own: Overlap, override: str | None
) -> None:
    event_id, _ = busy(ledger, own)
    made = ask(ledger, event_id, None if override is None else Overlap(override))
    assert made.claims == ()
    execution = shown(ledger, made.execution_id)
    assert (execution.fate, execution.reason, execution.manual) == (
        Fate.SKIPPED, Reason.OVERLAP, True,
    )  # fmt: skip
    assert (execution.attempts, execution.node, execution.ready_at) == ((), None, None)


@pytest.mark.parametrize("overlap", [Overlap.BUFFER_ONE, Overlap.BUFFER_ALL])
def test_in_a_queue_it_waits_until_the_other_has_ended(ledger: Ledger, overlap: Overlap) -> None:
    event_id, running = busy(ledger, buffer_limit=1)
    made = ask(ledger, event_id, overlap)
    waiting = shown(ledger, made.execution_id)
    assert (waiting.fate, waiting.attempts) == (Fate.PENDING, ())
    assert ledger.claim().claims == ()
    reason = shown(ledger, ask(ledger, event_id, overlap).execution_id).reason
    assert reason == (Reason.OVERLAP if overlap is Overlap.BUFFER_ONE else Reason.QUEUE_FULL)
    ledger.end(running)
    (claim,) = ledger.claim().claims
    assert (claim.id, claim.manual) == (made.execution_id, True)
    ledger.check_accounts()


def test_the_other_may_be_told_to_stop(ledger: Ledger) -> None:
    event_id, running = busy(ledger)
    made = ask(ledger, event_id, Overlap.CANCEL_OTHER)
    assert (made.told, made.claims) == ((running.id,), ())
    assert shown(ledger, running.id).cancel_requested
    ledger.end(running, fate=Fate.CANCELLED)
    assert [claim.id for claim in ledger.claim().claims] == [made.execution_id]


def test_the_other_may_be_ended(ledger: Ledger) -> None:
    event_id, running = busy(ledger)
    made = ask(ledger, event_id, Overlap.TERMINATE_OTHER)
    assert [ended.execution_id for ended in made.terminated] == [running.id]
    assert [claim.id for claim in made.claims] == [made.execution_id]
    other = shown(ledger, running.id)
    assert (other.fate, other.reason, other.still_running) == (
        Fate.CANCELLED, Reason.OVERLAP, True,
    )  # fmt: skip


def test_it_may_run_beside_the_other(ledger: Ledger) -> None:
    event_id, _ = busy(ledger)
    (claim,) = ask(ledger, event_id, Overlap.ALLOW_ALL).claims
    assert not claim.serial


@pytest.mark.parametrize("overlap", SERIAL)
def test_nothing_waits_for_others_where_all_may_overlap(ledger: Ledger, overlap: Overlap) -> None:
    event_id, _ = busy(ledger, Overlap.ALLOW_ALL)
    if overlap in (Overlap.SKIP, Overlap.TERMINATE_OTHER):
        made = ask(ledger, event_id, overlap)
        assert bool(made.claims) is (overlap is Overlap.TERMINATE_OTHER)
        return
    with pytest.raises(ValidationFailed) as caught:
        ask(ledger, event_id, overlap)
    assert caught.value.details["path"] == "overlap"


def test_a_quarantined_event_is_not_run(ledger: Ledger) -> None:
    event_id = ledger.add()
    ledger.run(quarantine, event_id, now=ledger.now, error="bad", ids=ledger.ids, node="here")
    with pytest.raises(TransitionError) as caught:
        ask(ledger, event_id)
    assert caught.value.details == {"verb": "trigger_now", "status": "quarantined"}
