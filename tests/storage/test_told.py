"""What jobs tell, in the ledger: with the attempt it belongs to, from the node that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kalends.clock import from_us
from kalends.model import Attempt, Fate, LogLine
from kalends.queries import ExecutionQuery
from kalends.storage.models import ExecutionRow
from kalends.storage.rows import latest_told
from kalends.triggers import every
from kalends.work import Claim, Told

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": 60.0, "retry_jitter": 0.0}
HALF = Told(0.5, "half of it", '[3,[[1800000000000000,"info","hello"]]]')
ALL = Told(1.0, None, None)


def begin(ledger: Ledger, *, node: Any = None, **policies: Any) -> Claim:
    ledger.add(every(seconds=10), **policies)
    ledger.clock.advance(10.0)
    (claim,) = ledger.claim(node=node).claims
    return claim


def last(ledger: Ledger, claim: Claim) -> Attempt:
    return ledger.execution(claim.id).attempts[-1]


def told_by(attempt: Attempt) -> tuple[float | None, str | None, int]:
    return attempt.progress, attempt.note, len(attempt.log) + attempt.log_dropped


def test_what_a_job_tells_while_it_runs_is_read_with_its_execution(ledger: Ledger) -> None:
    claim = begin(ledger)
    assert ledger.run(ledger.here.outcomes.tell, [(claim.id, 1, HALF)]) == 1
    execution = ledger.execution(claim.id)
    assert (execution.progress, execution.note) == (0.5, "half of it")
    (attempt,) = execution.attempts
    assert attempt.log == (
        LogLine(at=from_us(1_800_000_000_000_000), level="info", message="hello"),
    )
    assert attempt.log_dropped == 3


def test_an_execution_that_has_told_nothing_has_nothing(ledger: Ledger) -> None:
    claim = begin(ledger)
    execution = ledger.execution(claim.id)
    assert (execution.progress, execution.note) == (None, None)
    assert told_by(last(ledger, claim)) == (None, None, 0)


@pytest.mark.parametrize(("node", "attempt"), [("there", 1), ("here", 2)])
def test_only_the_node_that_has_the_attempt_tells(ledger: Ledger, node: str, attempt: int) -> None:
    claim = begin(ledger)
    teller = ledger.there if node == "there" else ledger.here
    assert ledger.run(teller.outcomes.tell, [(claim.id, attempt, HALF)]) == 0
    assert ledger.execution(claim.id).progress is None


@pytest.mark.parametrize("fate", [Fate.SUCCEEDED, Fate.FAILED, Fate.CANCELLED])
def test_the_end_of_an_attempt_carries_what_was_told_last(ledger: Ledger, fate: Fate) -> None:
    claim = begin(ledger)
    ledger.run(ledger.here.outcomes.tell, [(claim.id, 1, HALF)])
    ledger.record(ledger.outcome(claim, fate, told=ALL))
    assert (ledger.execution(claim.id).fate, told_by(last(ledger, claim))) == (fate, (1.0, None, 0))


def test_an_attempt_that_is_followed_by_another_keeps_what_it_told(ledger: Ledger) -> None:
    claim = begin(ledger, **RETRIES)
    ledger.run(ledger.here.outcomes.tell, [(claim.id, 1, Told(0.1, None, None))])
    ledger.record(ledger.outcome(claim, Fate.FAILED, told=HALF))
    (waiting,) = ledger.execution(claim.id).attempts
    assert told_by(waiting) == (0.5, "half of it", 4)
    ledger.clock.advance(60.0)
    second = next(found for found in ledger.claim().claims if found.id == claim.id)
    assert [told_by(each) for each in ledger.execution(claim.id).attempts] == [
        (0.5, "half of it", 4),
        (None, None, 0),
    ]
    ledger.record(ledger.outcome(second, told=ALL))
    assert [told_by(each)[0] for each in ledger.execution(claim.id).attempts] == [0.5, 1.0]


def test_lists_have_what_was_told_but_for_the_lines(ledger: Ledger) -> None:
    claim = begin(ledger, **RETRIES)
    ledger.record(ledger.outcome(claim, Fate.FAILED, told=HALF))
    ledger.clock.advance(60.0)
    ledger.claim()
    ledger.run(ledger.here.outcomes.tell, [(claim.id, 2, HALF)])
    query = ExecutionQuery(event_id=claim.event_id, descending=False)
    (listed, *_) = ledger.run(ledger.here.executions.list, query).items
    assert [told_by(each) for each in listed.attempts] == [(0.5, "half of it", 0)] * 2
    kept = ledger.execution(claim.id)
    assert [told_by(each) for each in kept.attempts] == [(0.5, "half of it", 4)] * 2
    plain = [msgspec.structs.replace(each, log=(), log_dropped=0) for each in kept.attempts]
    assert listed == msgspec.structs.replace(kept, attempts=tuple(plain))


def test_an_attempt_that_was_lost_keeps_what_it_told(ledger: Ledger) -> None:
    ledger.run(ledger.there.leases.enter, now=ledger.now)
    claim = begin(ledger, node=ledger.there)
    ledger.run(ledger.there.outcomes.mark_running, [(claim.id, 1, ledger.now)])
    ledger.run(ledger.there.outcomes.tell, [(claim.id, 1, HALF)])
    ledger.clock.advance(60.0)
    ledger.run(ledger.here.leases.rescue, now=ledger.now)
    (lost,) = ledger.execution(claim.id).attempts
    assert (lost.outcome, told_by(lost)) == (Fate.LOST, (0.5, "half of it", 4))
    second = next(found for found in ledger.claim().claims if found.id == claim.id)
    assert told_by(last(ledger, second)) == (None, None, 0)


def test_the_last_words_of_a_job_that_ran_on_after_its_time_are_taken(ledger: Ledger) -> None:
    claim = begin(ledger)
    over = ledger.outcome(claim, Fate.TIMED_OUT, still_running=True, told=HALF)
    ledger.record(over)
    ledger.record(ledger.outcome(claim, took=5.0, late=True, told=ALL))
    execution = ledger.execution(claim.id)
    assert (execution.fate, execution.still_running) == (Fate.TIMED_OUT, False)
    assert execution.progress == 1.0


def test_the_last_words_of_an_attempt_that_was_followed_by_another_are_not_kept(
    ledger: Ledger,
) -> None:
    claim = begin(ledger, **RETRIES)
    ledger.record(ledger.outcome(claim, Fate.TIMED_OUT, still_running=True, told=HALF))
    (before,) = ledger.execution(claim.id).attempts
    ledger.record(ledger.outcome(claim, took=5.0, late=True, told=ALL))
    (after,) = ledger.execution(claim.id).attempts
    assert after == msgspec.structs.replace(before, still_running=False)
    assert before.still_running


@pytest.mark.parametrize("log", ["{", "[]", '[0,[["a",1,2]]]', '"text"'])
def test_a_log_that_cannot_be_read_hides_nothing_else(ledger: Ledger, log: str) -> None:
    claim = begin(ledger)
    ledger.run(ExecutionRow.update(progress=0.5, note="half", log=log).execute)
    assert told_by(last(ledger, claim)) == (0.5, "half", 0)


def test_what_is_newer_than_the_ledger_stands_in_its_place(ledger: Ledger) -> None:
    claim = begin(ledger)
    ledger.run(ledger.here.outcomes.tell, [(claim.id, 1, HALF)])
    execution = latest_told(ledger.execution(claim.id), ALL)
    assert (execution.progress, execution.note) == (1.0, None)
    assert latest_told(execution, HALF) == ledger.execution(claim.id)
