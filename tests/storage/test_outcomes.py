"""Outcomes: what follows on an attempt that did not succeed, decided as it is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw
import pytest

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.model import Execution, Fate, Reason
from kalends.retrying import Ask
from kalends.storage.models import AttemptRow, EventRow, ExecutionRow
from kalends.storage.outcomes import Recorded
from kalends.triggers import every, once
from kalends.work import Claim, Outcome

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

SOON: dict[str, Any] = {"retries": 2, "retry_delay": 60.0, "retry_jitter": 0.0}


def quiet(recorded: Recorded) -> bool:
    """Nothing is rejected, paused or attempted again."""
    return (recorded.rejected, recorded.ready_at, recorded.paused) == ((), None, ())


def begin(ledger: Ledger, **policies: Any) -> Claim:
    """The claim of an event's first instant."""
    ledger.add(every(days=1), **policies)
    ledger.clock.advance(86_400.0)
    (claim,) = ledger.claim().claims
    return claim


def again(ledger: Ledger, seconds: float, **more: Any) -> Claim:
    """The claim of the next attempt, which may begin after just so many seconds."""
    ledger.clock.advance(seconds - 0.001)
    assert ledger.claim(**more).claims == ()
    ledger.clock.advance(0.001)
    (claim,) = ledger.claim(**more).claims
    return claim


def told(execution: Execution) -> list[tuple[int, str, str | None]]:
    """Number, outcome and error of each attempt."""
    return [
        (item.number, item.outcome.value, None if item.error is None else item.error.type)
        for item in execution.attempts
    ]


def test_a_job_that_fails_twice_and_then_succeeds_has_three_attempts(ledger: Ledger) -> None:
    first = begin(ledger, **SOON)
    assert ledger.fail(first, "KeyError").ready_at == ledger.now + 60 * US
    waiting = ledger.execution(first.id)
    assert (waiting.fate, waiting.reason, waiting.node) == (Fate.PENDING, None, None)
    assert (waiting.ready_at, waiting.started_at) == (from_us(ledger.now + 60 * US), None)
    assert told(waiting) == [(1, "failed", "KeyError")]
    second = again(ledger, 60.0)
    assert (second.id, second.attempt) == (first.id, 2)
    assert ledger.fail(second, "OSError").ready_at == ledger.now + 120 * US
    third = again(ledger, 120.0)
    assert ledger.end(third, took=2.0, result='"done"') == ()
    done = ledger.execution(first.id)
    assert told(done) == [
        (1, "failed", "KeyError"),
        (2, "failed", "OSError"),
        (3, "succeeded", None),
    ]
    assert (done.fate, done.result, done.error, done.reason) == (Fate.SUCCEEDED, "done", None, None)
    assert (done.lateness, done.duration) == (0.0, 2.0)
    ledger.check_accounts()


def test_the_last_failure_is_the_fate_and_says_that_the_retries_are_used_up(
    ledger: Ledger,
) -> None:
    claim = begin(ledger, **SOON)
    ledger.fail(claim)
    ledger.fail(again(ledger, 60.0))
    last = again(ledger, 120.0)
    assert quiet(ledger.fail(last, "KeyError"))
    over = ledger.execution(claim.id)
    assert (over.fate, over.reason, over.ended_at) == (
        Fate.FAILED,
        Reason.EXHAUSTED,
        from_us(ledger.now),
    )
    assert over.error is not None
    assert over.error.type == "KeyError"
    assert [item.outcome for item in over.attempts] == [Fate.FAILED] * 3
    ledger.clock.advance(3600.0)
    assert ledger.claim().claims == ()


@pytest.mark.parametrize(
    ("policies", "kinds"),
    [
        ({}, ("KeyError",)),
        ({**SOON, "retry_on": ("OSError",)}, ("KeyError",)),
        ({**SOON, "give_up_on": ("LookupError",)}, ("KeyError", "LookupError")),
    ],
)
def test_a_failure_that_nothing_says_to_try_again_is_the_fate_for_no_further_reason(
    ledger: Ledger, policies: dict[str, Any], kinds: tuple[str, ...]
) -> None:
    claim = begin(ledger, **policies)
    assert quiet(ledger.fail(claim, *kinds))
    execution = ledger.execution(claim.id)
    assert (execution.fate, execution.reason) == (Fate.FAILED, None)


def test_a_timed_out_attempt_is_tried_again_under_the_name_timeout_error(ledger: Ledger) -> None:
    claim = begin(ledger, **SOON, retry_on=("TimeoutError",))
    ledger.fail(claim, "TimeoutError", "OSError", fate=Fate.TIMED_OUT)
    assert told(ledger.execution(claim.id)) == [(1, "timed_out", "TimeoutError")]
    ledger.fail(again(ledger, 60.0), "OSError")
    assert ledger.execution(claim.id).fate is Fate.FAILED


# -- what a job asks for -----------------------------------------------------------------------


def test_a_job_may_ask_for_another_attempt_where_the_event_has_no_retries(ledger: Ledger) -> None:
    claim = begin(ledger, max_attempts=3, retry_jitter=0.0)
    ledger.fail(claim, "Retry", ask=Ask(True, 5 * US))
    ledger.fail(again(ledger, 5.0), "Retry", ask=Ask(True, None))
    third = again(ledger, 20.0)
    assert quiet(ledger.fail(third, "Retry", ask=Ask(True, 0)))
    execution = ledger.execution(claim.id)
    assert (execution.fate, execution.reason) == (Fate.FAILED, Reason.EXHAUSTED)


def test_a_job_may_snooze_for_ever_and_fail_as_often_as_before(ledger: Ledger) -> None:
    claim = begin(ledger, **{**SOON, "retries": 1, "max_attempts": 2})
    first = claim
    for _ in range(300):
        ledger.fail(claim, "Snooze", fate=Fate.CANCELLED, ask=Ask(False, US))
        ledger.clock.advance(1.0)
        (claim,) = ledger.claim().claims
    ledger.fail(claim, "KeyError")
    ledger.end(again(ledger, 60.0))
    execution = ledger.execution(first.id)
    assert execution.fate is Fate.SUCCEEDED
    assert [item.number for item in execution.attempts] == list(range(1, 303))
    assert told(execution)[0] == (1, "cancelled", "Snooze")
    assert told(execution)[-2:] == [(301, "failed", "KeyError"), (302, "succeeded", None)]


def test_a_job_that_cancels_itself_is_not_tried_again(ledger: Ledger) -> None:
    claim = begin(ledger, **SOON)
    assert quiet(ledger.fail(claim, "Cancel", fate=Fate.CANCELLED))
    execution = ledger.execution(claim.id)
    assert (execution.fate, execution.reason) == (Fate.CANCELLED, None)
    assert execution.error is not None
    assert execution.error.type == "Cancel"


@pytest.mark.parametrize(
    ("fate", "ask"), [(Fate.FAILED, Ask(True, 1)), (Fate.CANCELLED, Ask(False, 1))]
)
def test_under_at_most_once_a_job_that_asks_fails_and_the_error_says_why(
    ledger: Ledger, fate: Fate, ask: Ask
) -> None:
    claim = begin(ledger, delivery="at_most_once")
    assert quiet(ledger.fail(claim, "Retry", fate=fate, ask=ask))
    execution = ledger.execution(claim.id)
    assert (execution.fate, execution.reason) == (Fate.FAILED, None)
    assert execution.error is not None
    assert "at_most_once, which allows no further attempt" in execution.error.message


def test_what_was_told_to_stop_is_not_tried_again(ledger: Ledger) -> None:
    claim = begin(ledger, **SOON)
    ledger.run(ExecutionRow.update(cancel=1).execute)
    assert quiet(ledger.fail(claim, "KeyError", ask=Ask(True, 1)))
    assert ledger.execution(claim.id).ended_at is not None


# -- the event as it is then -------------------------------------------------------------------


def test_a_policy_that_is_changed_between_attempts_decides_on_the_next_one(
    ledger: Ledger,
) -> None:
    claim = begin(ledger, **SOON)
    ledger.fail(claim)
    second = again(ledger, 60.0)
    changes = Changes(policies={"retries": 5, "retry_delay": 1.0})
    ledger.run(
        ledger.here.events.update, claim.event_id, changes, now=ledger.now, version=None,
        author=None, given_back=(),
    )  # fmt: skip
    assert ledger.fail(second).ready_at == ledger.now + 2 * US
    third = again(ledger, 2.0)
    ledger.run(
        ledger.here.events.update, claim.event_id, Changes(policies={"retries": 1}),
        now=ledger.now, version=None, author=None, given_back=(),
    )  # fmt: skip
    assert quiet(ledger.fail(third))
    assert ledger.execution(claim.id).reason is Reason.EXHAUSTED


@pytest.mark.parametrize("parked", ["paused before", "paused after", "quarantined"])
def test_a_retry_of_a_parked_event_waits_for_its_return(ledger: Ledger, parked: str) -> None:
    claim = begin(ledger, **SOON)
    if parked == "paused after":
        ledger.fail(claim)
    if parked == "quarantined":
        ledger.run(ledger.here.claims.refuse, claim_of_nobody(claim), now=ledger.now, error="gone")
    else:
        ledger.set_status(claim.event_id, "pause")
    if parked != "paused after":
        assert ledger.fail(claim).ready_at == ledger.now + 60 * US
    ledger.clock.advance(3600.0)
    assert ledger.claim().claims == ()
    assert ledger.execution(claim.id).fate is Fate.PENDING
    ledger.set_status(claim.event_id, "release" if parked == "quarantined" else "resume")
    (second,) = ledger.claim().claims
    assert (second.id, second.attempt) == (claim.id, 2)
    ledger.end(second)
    assert ledger.execution(claim.id).fate is Fate.SUCCEEDED
    ledger.check_accounts()


def claim_of_nobody(claim: Claim) -> Claim:
    """Another claim of the same event."""
    return Claim(**{name: getattr(claim, name) for name in claim.__struct_fields__} | {"id": "?"})


def test_the_last_outcome_of_a_deleted_event_is_the_fate(ledger: Ledger) -> None:
    claim = begin(ledger, **SOON)
    ledger.set_status(claim.event_id, "delete")
    assert quiet(ledger.fail(claim, ask=Ask(True, 5)))
    assert ledger.execution(claim.id).fate is Fate.FAILED


def test_policies_that_cannot_be_read_allow_no_further_attempt(ledger: Ledger) -> None:
    claim = begin(ledger, **SOON)
    ledger.run(EventRow.update(policies="{").where(EventRow.id == claim.event_id).execute)
    assert quiet(ledger.fail(claim))
    assert ledger.execution(claim.id).fate is Fate.FAILED


def test_an_event_whose_rule_has_ended_retries_its_last_instant(ledger: Ledger) -> None:
    event_id = ledger.add(once(from_us(ledger.now + 10 * US)), **SOON)
    ledger.clock.advance(10.0)
    (claim,) = ledger.claim().claims
    ledger.fail(claim)
    assert ledger.event(event_id).status == "completed"
    ledger.end(again(ledger, 60.0))
    assert ledger.fates(event_id) == [(10, "succeeded", None)]


# -- processes that die ------------------------------------------------------------------------


def test_a_retry_outlives_the_process_that_failed(ledger: Ledger) -> None:
    claim = begin(ledger, **SOON)
    ledger.fail(claim)
    ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=0)
    second = again(ledger, 60.0, node=ledger.there)
    ledger.end(second, node=ledger.there)
    execution = ledger.execution(claim.id)
    assert [(item.node, item.outcome) for item in execution.attempts] == [
        ("here", Fate.FAILED),
        ("there", Fate.SUCCEEDED),
    ]


def test_a_retry_that_was_claimed_ahead_by_a_process_that_died_costs_no_attempt(
    ledger: Ledger,
) -> None:
    claim = begin(ledger, **SOON)
    ready_at = ledger.fail(claim).ready_at
    ledger.clock.advance(59.0)
    (second,) = ledger.claim(ahead=2.0).claims
    assert second.due + second.delay_us == ready_at
    ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=1)
    waiting = ledger.execution(claim.id)
    assert (told(waiting), waiting.ready_at) == ([(1, "failed", "Oops")], from_us(ready_at or 0))
    assert again(ledger, 1.0).attempt == 2


def test_attempts_that_were_lost_and_attempts_that_failed_are_counted_apart(
    ledger: Ledger,
) -> None:
    claim = begin(ledger, **{**SOON, "max_attempts": 3})
    for lost in range(2):
        ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=1)
        (claim,) = ledger.claim().claims
        assert claim.attempt == 2 * lost + 2
        ledger.fail(claim)
        claim = again(ledger, 60.0 * 2**lost)
    ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=1)
    execution = ledger.execution(claim.id)
    assert (execution.fate, execution.reason) == (Fate.LOST, Reason.PROCESS_DIED)
    assert [item.outcome.value for item in execution.attempts] == [
        "lost", "failed", "lost", "failed", "lost",
    ]  # fmt: skip


# -- too late, and twice -----------------------------------------------------------------------


def test_a_failure_that_is_recorded_twice_is_one_attempt(ledger: Ledger) -> None:
    claim = begin(ledger, **SOON)
    first = ledger.fail(claim)
    assert first.ready_at is not None
    assert quiet(ledger.fail(claim)), "as after a commit whose answer was lost"
    second = again(ledger, 60.0)
    assert told(ledger.execution(claim.id))[0] == (1, "failed", "Oops")
    assert second.attempt == 2


@pytest.mark.parametrize("fate", [Fate.SUCCEEDED, Fate.FAILED])
def test_an_outcome_that_comes_after_the_retry_changes_nothing(ledger: Ledger, fate: Fate) -> None:
    claim = begin(ledger, **SOON)
    ledger.fail(claim)
    again(ledger, 60.0)
    before = ledger.execution(claim.id)
    assert ledger.end(claim, fate=fate, took=7.0) == (claim.id,)
    assert ledger.execution(claim.id) == before
    assert len(ledger.rows(AttemptRow.select(AttemptRow.number))) == 1


# -- many at once ------------------------------------------------------------------------------


def statements(ledger: Ledger, outcomes: list[Outcome]) -> tuple[Recorded, list[str]]:
    """What recording them answers, and the statements it runs, each once for all its rows."""
    seen: list[str] = []
    connection = ledger.db.connection()

    def trace(cursor: apsw.Cursor, sql: str, values: Any) -> bool:
        seen.append(sql)
        return True

    many = ledger.dialect.execute_many

    def counted(db: Any, statement: Any, rows: Any) -> int:
        connection.exec_trace = None
        changed = many(db, statement, rows)
        connection.exec_trace = trace
        seen.append(f"{statement} * {len(rows)}")
        return changed

    ledger.dialect.execute_many = counted  # type: ignore[method-assign]
    connection.exec_trace = trace
    try:
        recorded = ledger.record(*outcomes)
    finally:
        connection.exec_trace = None
        ledger.dialect.execute_many = many  # type: ignore[method-assign]
    return recorded, [sql for sql in seen if not sql.startswith(("BEGIN", "SAVEPOINT", "COMMIT"))]


def test_any_number_of_successes_is_one_statement(ledger: Ledger) -> None:
    ledger.create(*(ledger.definition(every(seconds=10), **SOON) for _ in range(500)))
    ledger.clock.advance(10.0)
    held = ledger.claim().claims
    recorded, seen = statements(ledger, [ledger.outcome(c, Fate.SUCCEEDED) for c in held])
    assert quiet(recorded)
    assert [sql.rpartition(" * ")[2] for sql in seen] == ["500"]


@pytest.mark.on_sqlite
def test_failures_among_successes_cost_them_no_statement(ledger: Ledger) -> None:
    ledger.create(*(ledger.definition(every(seconds=10), **SOON) for _ in range(500)))
    ledger.clock.advance(10.0)
    held = ledger.claim().claims
    fates = [Fate.FAILED if place % 100 == 50 else Fate.SUCCEEDED for place in range(500)]
    outcomes = [ledger.outcome(c, fate) for c, fate in zip(held, fates, strict=True)]
    recorded, seen = statements(ledger, outcomes)
    assert recorded.ready_at == ledger.now + 60 * US
    assert (recorded.rejected, recorded.paused) == ((), ())
    assert [sql.rpartition(" * ")[2] for sql in seen if " * " in sql] == ["495"]
    assert len(seen) == 1 + 5 * 4
    assert [ledger.execution(c.id).fate.value for c in held] == [
        "pending" if fate is Fate.FAILED else "succeeded" for fate in fates
    ]
