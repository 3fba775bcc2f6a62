"""Executions: outcomes only from who holds them, and lists of what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from kalends.clock import US, from_us
from kalends.errors import ExecutionNotFound
from kalends.model import Fate, JournalKind
from kalends.queries import ExecutionQuery, GapQuery, JournalQuery
from kalends.storage.gaps import list_gaps
from kalends.storage.journal import list_entries, write_entry
from kalends.storage.models import ExecutionRow
from kalends.storage.outcomes import Recorded
from kalends.triggers import every
from kalends.work import Claim, Outcome, WrittenOff

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger
    from tests.storage.node import Node


def quiet(recorded: Recorded) -> bool:
    """Nothing is rejected, paused or attempted again."""
    return (recorded.rejected, recorded.ready_at, recorded.paused) == ((), None, ())


def claims(ledger: Ledger, count: int = 1) -> list[Claim]:
    """Claims of that many events, all due now."""
    for _ in range(count):
        ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    return list(ledger.claim().claims)


def test_an_outcome_is_written_with_its_times_result_and_attempt(ledger: Ledger) -> None:
    claim = claims(ledger)[0]
    ledger.clock.advance(0.25)
    assert ledger.end(claim, took=1.5, result='{"rows":3}') == ()
    execution = ledger.run(ledger.here.executions.get, claim.id)
    assert (execution.fate, execution.result, execution.error) == (
        Fate.SUCCEEDED,
        {"rows": 3},
        None,
    )
    assert (execution.lateness, execution.duration) == (0.25, 1.5)
    assert (execution.node, execution.due) == ("here", from_us(claim.due))
    attempt = execution.attempts[0]
    assert (attempt.number, attempt.outcome, attempt.ended_at) == (
        1,
        Fate.SUCCEEDED,
        from_us(ledger.now + 1_500_000),
    )


def test_an_error_is_written_as_text(ledger: Ledger) -> None:
    claim = claims(ledger)[0]
    ledger.end(claim, fate=Fate.FAILED)
    execution = ledger.run(ledger.here.executions.get, claim.id)
    assert execution.error is not None
    assert (execution.error.type, execution.error.message) == ("Oops", "no")
    assert execution.attempts[0].error == execution.error


def test_an_outcome_of_an_attempt_that_was_lost_changes_nothing(ledger: Ledger) -> None:
    claim = claims(ledger)[0]
    ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=1)
    assert ledger.end(claim) == (claim.id,), "nobody holds it"
    again = ledger.claim().claims[0]
    assert ledger.end(claim) == (claim.id,), "the same node, but an earlier attempt"
    assert ledger.end(again, node=ledger.there) == (claim.id,), "another node"
    assert ledger.run(ledger.here.executions.get, claim.id).fate is Fate.PENDING
    assert ledger.end(again, fate=Fate.FAILED) == ()
    assert ledger.end(again, took=1.0) == (claim.id,), "what ended has ended"
    assert ledger.run(ledger.here.executions.get, claim.id).fate is Fate.FAILED


def test_an_outcome_recorded_twice_is_recorded(ledger: Ledger) -> None:
    claim = claims(ledger)[0]
    assert ledger.end(claim) == ()
    assert ledger.end(claim) == (), "as after a commit whose answer was lost"


def test_an_attempt_that_ended_in_the_ledger_and_runs_on_is_over_with_its_late_outcome(
    ledger: Ledger,
) -> None:
    begun, unknown, other = claims(ledger, 3)
    ended = {ExecutionRow.fate: "cancelled", ExecutionRow.ended_at: ledger.now}
    ledger.run(ExecutionRow.update({**ended, ExecutionRow.still_running: 1}).execute)

    def late(claim: Claim, started_us: int | None, node: Node) -> tuple[str, ...]:
        outcome = WrittenOff(claim.id, claim.event_id, 1, ledger.now).late_outcome()
        outcome = msgspec.structs.replace(outcome, started_us=started_us)
        return ledger.run(node.outcomes.record, [outcome], now=ledger.now).rejected

    ledger.clock.advance(5.0)
    assert late(begun, ledger.now - 7 * US, ledger.here) == ()
    assert late(unknown, None, ledger.here) == ()
    assert late(other, None, ledger.there) == ()
    found = [ledger.run(ledger.here.executions.get, c.id) for c in (begun, unknown, other)]
    assert [execution.still_running for execution in found] == [False, False, True]
    assert [execution.fate for execution in found] == [Fate.CANCELLED] * 3
    assert [execution.duration for execution in found] == [2.0, None, None]
    assert ledger.end(other) == (), "its own outcome says as well that it is over"
    assert not ledger.run(ledger.here.executions.get, other.id).still_running
    assert ledger.end(other) == (other.id,)


def test_what_was_called_off_before_it_began_has_no_start(ledger: Ledger) -> None:
    claim = claims(ledger)[0]
    outcome = Outcome(
        execution_id=claim.id, event_id=claim.event_id, attempt=1, fate=Fate.CANCELLED,
        started_us=None, ended_us=ledger.now,
    )  # fmt: skip
    assert quiet(ledger.run(ledger.here.outcomes.record, [outcome], now=ledger.now))
    execution = ledger.run(ledger.here.executions.get, claim.id)
    assert (execution.fate, execution.started_at, execution.lateness) == (
        Fate.CANCELLED,
        None,
        None,
    )


def test_a_batch_tells_which_of_its_outcomes_came_too_late(ledger: Ledger) -> None:
    held = claims(ledger, 5)
    ledger.run(ExecutionRow.update(node="there").where(ExecutionRow.id == held[2].id).execute)
    assert ledger.end(*held) == (held[2].id,)
    fates = [ledger.run(ledger.here.executions.get, claim.id).fate for claim in held]
    assert [fate is Fate.SUCCEEDED for fate in fates] == [True, True, False, True, True]


def test_what_has_begun_and_not_ended_is_running(ledger: Ledger) -> None:
    one, two, three = claims(ledger, 3)
    ledger.end(two)
    begun = [(claim.id, 1, ledger.now) for claim in (one, two)] + [(three.id, 2, ledger.now)]
    assert ledger.run(ledger.here.outcomes.mark_running, begun) == 1
    fates = [ledger.run(ledger.here.executions.get, item.id).fate for item in (one, two, three)]
    assert fates == [Fate.RUNNING, Fate.SUCCEEDED, Fate.PENDING]
    assert ledger.run(ledger.here.executions.get, one.id).started_at == from_us(ledger.now)
    assert ledger.end(one) == ()


def test_an_unknown_execution_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(ExecutionNotFound):
        ledger.run(ledger.here.executions.get, "nothing")


def test_lateness_is_that_of_the_first_attempt_and_attempts_have_no_holes(ledger: Ledger) -> None:
    claim = claims(ledger)[0]
    ledger.clock.advance(1.0)
    ledger.run(ledger.here.outcomes.mark_running, [(claim.id, 1, ledger.now)])
    ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=1)
    ledger.clock.advance(60.0)
    again = ledger.claim(node=ledger.there).claims[0]
    ledger.end(again, node=ledger.there)
    execution = ledger.run(ledger.here.executions.get, claim.id)
    assert execution.lateness == 1.0
    assert [(item.number, item.node, item.outcome) for item in execution.attempts] == [
        (1, "here", Fate.LOST),
        (2, "there", Fate.SUCCEEDED),
    ]
    listed = ledger.run(ledger.here.executions.list, ExecutionQuery()).items
    assert listed == (execution,)


@pytest.mark.parametrize(
    "text", ["", "{", "[1", '"\\ud800', "[" * 100_000], ids=lambda text: text[:9]
)
def test_a_damaged_result_or_error_does_not_hide_the_execution(ledger: Ledger, text: str) -> None:
    claim = claims(ledger)[0]
    ledger.end(claim)
    ledger.run(
        ExecutionRow.update(result=text, error=text).where(ExecutionRow.id == claim.id).execute
    )
    found = ledger.run(ledger.here.executions.list, ExecutionQuery()).items[0]
    assert (found.result, found.result_note) == (None, "the stored result cannot be read")
    assert found.error is not None
    assert found.error.type == "Unreadable"


@pytest.mark.parametrize(
    "text", ["", "[0]", '[0,[[9999999999999999999,"a","b"]]]', '[0,[[-1,"a","b"]]]', "[" * 100_000],
    ids=lambda text: text[:9],
)  # fmt: skip
def test_a_damaged_log_does_not_hide_the_execution(ledger: Ledger, text: str) -> None:
    claim = claims(ledger)[0]
    ledger.end(claim)
    ledger.run(ExecutionRow.update(log=text).where(ExecutionRow.id == claim.id).execute)
    found = ledger.run(ledger.here.executions.get, claim.id)
    assert (found.fate, found.attempts[-1].log) == (Fate.SUCCEEDED, ())


def test_executions_are_found_by_event_fate_and_time(ledger: Ledger) -> None:
    one = ledger.add(every(seconds=10))
    two = ledger.add(every(seconds=20))
    fates = [Fate.SUCCEEDED, Fate.FAILED, Fate.TIMED_OUT, Fate.SUCCEEDED]
    start = ledger.now
    for fate in fates:
        ledger.clock.advance(10.0)
        ledger.end(*ledger.claim().claims, fate=fate)
    ledger.clock.advance(3.0)
    manual = ledger.trigger(one)

    def found(**conditions: object) -> list[tuple[str, int]]:
        query = msgspec.convert({"limit": 100, **conditions}, ExecutionQuery)
        items = ledger.run(ledger.here.executions.list, query).items
        assert ledger.run(ledger.here.executions.count, query) == len(items)
        names = {one: "one", two: "two"}
        return [(names[item.event_id], (item.due - from_us(start)).in_seconds()) for item in items]

    assert found(event_id=two) == [("two", 40), ("two", 20)]
    assert found(event_id=one, descending=False)[:2] == [("one", 10), ("one", 20)]
    assert found(fate="failed") == [("two", 20), ("one", 20)] or found(fate="failed") == [
        ("one", 20),
        ("two", 20),
    ]
    assert found(fate="timed_out") == [("one", 30)]
    assert len(found(fate="succeeded")) == 3
    assert found(fate="pending") == [("one", 43)]
    assert found(fate="lost") == []
    assert found(manual=True) == [("one", 43)]
    assert len(found(manual=False)) == 6
    assert found(since=start + 30 * US, until=start + 40 * US) == [("one", 30)]
    assert manual.manual


def test_a_history_is_paged_without_gaps_or_repeats(ledger: Ledger) -> None:
    held = claims(ledger, 23)  # all due at one instant: the id decides
    ledger.end(*held)
    for descending in (True, False):
        cursor, seen = None, []
        while True:
            page = ledger.run(
                ledger.here.executions.list,
                ExecutionQuery(limit=5, descending=descending, cursor=cursor),
            )
            seen += [item.id for item in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        assert seen == sorted((claim.id for claim in held), reverse=descending)


def test_an_empty_batch_is_no_work(ledger: Ledger) -> None:
    assert ledger.end() == ()
    assert ledger.run(ledger.here.outcomes.mark_running, []) == 0


def test_the_result_note_is_kept(ledger: Ledger) -> None:
    claim = claims(ledger)[0]
    outcome = Outcome(
        execution_id=claim.id,
        event_id=claim.event_id,
        attempt=1,
        fate=Fate.SUCCEEDED,
        started_us=ledger.now,
        ended_us=ledger.now,
        result_note="too large",
    )
    ledger.run(ledger.here.outcomes.record, [outcome], now=ledger.now)
    execution = ledger.run(ledger.here.executions.get, claim.id)
    assert (execution.result, execution.result_note) == (None, "too large")


# -- gaps and the journal ----------------------------------------------------------------------


def test_gaps_are_found_by_event_and_by_the_time_they_touch(ledger: Ledger) -> None:
    one, two = ledger.add(every(seconds=10)), ledger.add(every(seconds=10))
    start = ledger.now
    ledger.clock.advance(45.0)
    ledger.claim()
    gaps = ledger.run(list_gaps, GapQuery(event_id=one)).items
    assert [(gap.count, gap.reason, gap.into) for gap in gaps] == [
        (3, "coalesced", from_us(start + 40 * US))
    ]
    assert len(ledger.run(list_gaps, GapQuery()).items) == 2
    assert len(ledger.run(list_gaps, GapQuery(since=start + 30 * US)).items) == 2
    assert ledger.run(list_gaps, GapQuery(since=start + 31 * US)).items == ()
    assert ledger.run(list_gaps, GapQuery(until=start + 10 * US)).items == ()
    first = ledger.run(list_gaps, GapQuery(limit=1))
    second = ledger.run(list_gaps, GapQuery(limit=1, cursor=first.cursor))
    assert {first.items[0].event_id, second.items[0].event_id} == {one, two}
    assert second.cursor is None


def test_the_journal_is_found_by_event_kind_and_time(ledger: Ledger) -> None:
    event_id = ledger.add()
    ledger.clock.advance(5.0)
    ledger.run(
        write_entry,
        JournalKind.CLOCK_JUMPED,
        now=ledger.now,
        ids=ledger.ids,
        node="here",
        seconds=3.5,
    )
    lines = ledger.run(list_entries, JournalQuery()).items
    assert [line.kind for line in lines] == [
        JournalKind.CLOCK_JUMPED,
        JournalKind.EVENTS_CREATED,
    ]
    assert lines[0].details == {"seconds": 3.5}
    for query, count in (
        (JournalQuery(event_id=event_id), 1),
        (JournalQuery(kind="clock_jumped"), 1),
        (JournalQuery(kind="node_died"), 0),
        (JournalQuery(since=ledger.now), 1),
        (JournalQuery(until=ledger.now), 1),
        (JournalQuery(limit=1), 1),
    ):
        assert len(ledger.run(list_entries, query).items) == count, query
