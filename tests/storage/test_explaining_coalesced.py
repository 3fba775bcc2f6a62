"""What was coalesced is told with what became of the instant that was to run for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kalends.clock import US, from_us
from kalends.explanation import Explanation
from kalends.model import Fate, Reason
from kalends.storage.explanations import explain
from kalends.storage.models import ExecutionRow
from kalends.storage.retention import prune
from kalends.triggers import every

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

START = 1_800_000_000 * US
"""2027-01-15 08:00 UTC."""


@pytest.fixture(name="ask")
def ask_fixture(ledger: Ledger) -> Callable[[str], Explanation]:
    """Explains the instant 20 seconds from START, which is left to the one at 40 seconds."""

    def ask(event_id: str) -> Explanation:
        found = ledger.run(
            explain, ledger.here.executions, event_id, START + 20 * US, now=ledger.now
        )
        assert found.reason is Reason.COALESCED
        assert found.into is not None
        assert found.into.due == from_us(START + 40 * US)
        return found

    return ask


Ask = Callable[[str], Explanation]


def said(words: str) -> str:
    return (
        f"It was skipped as coalesced: the instant 2027-01-15T08:00:40Z {words} "
        "(catch_up='latest'). That was decided at 2027-01-15T08:00:45Z."
    )


def test_one_that_waits_is_said_to_wait_and_one_that_runs_to_run(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10), retries=3, retry_delay=60.0)
    ledger.clock.advance(45)
    claim = ledger.claim().claims[0]
    found = ask(event_id)
    assert found.into is not None
    assert (found.into.fate, found.into.execution_id) == (Fate.PENDING, claim.id)
    assert not found.into.began
    assert found.sentences[1] == said("is to run for it, and waits")
    ledger.run(ledger.here.outcomes.mark_running, [(claim.id, 1, ledger.now)])
    assert ask(event_id).sentences[1] == said("runs for it")
    ledger.end(claim, fate=Fate.FAILED)
    assert ask(event_id).sentences[1] == said("began for it, and waits for another attempt")


@pytest.mark.parametrize(
    ("fate", "words"),
    [
        (Fate.SUCCEEDED, "ran for it"),
        (Fate.FAILED, "ran for it, and failed"),
        (Fate.TIMED_OUT, "ran for it, and ran out of time"),
        (Fate.CANCELLED, "ran for it, and was cancelled"),
    ],
)
def test_one_that_has_begun_is_said_to_have_run(
    ledger: Ledger, ask: Ask, fate: Fate, words: str
) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(45)
    ledger.end(*ledger.claim().claims, fate=fate)
    found = ask(event_id)
    assert found.into is not None
    assert (found.into.fate, found.into.began) == (fate, True)
    assert found.sentences[1] == said(words)


@pytest.mark.parametrize(
    ("fate", "reason", "words"),
    [
        (Fate.CANCELLED, Reason.REQUESTED, "was to run for it, and was cancelled"),
        (Fate.LOST, Reason.PROCESS_DIED, "was to run for it, and was lost"),
        (Fate.SKIPPED, Reason.OVERLAP, "was to run for it, and was skipped as overlap"),
    ],
)
def test_one_that_never_began_is_not_said_to_have_run(
    ledger: Ledger, ask: Ask, fate: Fate, reason: Reason, words: str
) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(45)
    ledger.claim()
    ledger.run(
        lambda db: ExecutionRow.update(
            fate=fate.value, reason=reason.value, ended_at=ledger.now, node=None
        ).execute(db)
    )
    found = ask(event_id)
    assert found.into is not None
    assert (found.into.fate, found.into.reason, found.into.began) == (fate, reason, False)
    assert found.sentences[1] == said(words)


def test_one_that_retention_has_folded_is_still_told(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(45)
    ledger.end(*ledger.claim().claims)
    ledger.clock.advance(1)
    ledger.run(
        prune, ledger.dialect, ledger.ids, now=ledger.now, retain_age_us=0, retain_count=None,
        retain_gaps_us=None, limit=100,
    )  # fmt: skip
    found = ask(event_id)
    assert found.into is not None
    assert (found.into.fate, found.into.execution_id) == (Fate.SUCCEEDED, None)
    assert found.sentences[1] == said("ran for it")
    ledger.run(lambda db: db.execute_sql("DELETE FROM gaps WHERE fate = 'succeeded'"))
    assert ask(event_id).sentences[1] == said("was left to run for it")
