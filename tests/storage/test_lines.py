"""Executions that wait because others run: their line, who makes way, and what ends of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import US
from kalends.model import Execution, Fate
from kalends.storage.models import ExecutionRow
from kalends.triggers import every

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def execution(ledger: Ledger, event_id: str, second: int) -> Execution:
    """The event's execution at an instant, in seconds from the start."""
    from tests.storage.conftest import START

    row = ledger.rows(
        ExecutionRow.select(ExecutionRow.id).where(
            ExecutionRow.event_id == event_id, ExecutionRow.due == START + second * US
        )
    )[0]
    return ledger.run(ledger.here.executions.get, row[0])


def waiting(ledger: Ledger, overlap: str, count: int = 1, **policies: Any) -> str:
    """An event that runs for its first instant while ``count`` further ones came."""
    event_id = ledger.add(every(seconds=10), overlap=overlap, **policies)
    for _ in range(count + 1):
        ledger.clock.advance(10.0)
        ledger.claim()
    return event_id


def test_what_waits_belongs_to_nobody_and_to_no_attempt(ledger: Ledger) -> None:
    event_id = waiting(ledger, "buffer_one")
    second = execution(ledger, event_id, 20)
    assert (second.node, second.attempts, second.started_at) == (None, (), None)
    assert second.ready_at == second.due


def test_the_line_goes_on_one_by_one_and_says_that_something_waits(ledger: Ledger) -> None:
    event_id = waiting(ledger, "buffer_all", 3)
    assert ledger.claim().held_up
    for _ in range(3):
        (held,) = ledger.rows(
            ExecutionRow.select(ExecutionRow.id, ExecutionRow.attempt, ExecutionRow.event_id).where(
                ExecutionRow.node == "here", ExecutionRow.ended_at.is_null()
            )
        )
        ledger.run(
            ExecutionRow.update(fate="succeeded", started_at=ledger.now, ended_at=ledger.now)
            .where(ExecutionRow.id == held[0])
            .execute
        )
        (claim,) = ledger.claim().claims
        assert (claim.attempt, claim.serial) == (1, True)
    assert not ledger.claim().held_up
    assert len(ledger.fates(event_id)) == 4


@pytest.mark.parametrize("overlap", ["buffer_one", "buffer_all", "cancel_other"])
def test_what_waits_when_its_event_is_paused_is_skipped(ledger: Ledger, overlap: str) -> None:
    event_id = waiting(ledger, overlap)
    ledger.set_status(event_id, "pause")
    assert ledger.fates(event_id)[1] == (20, "skipped", "paused")


def test_a_claim_of_what_had_waited_that_is_given_back_waits_again(ledger: Ledger) -> None:
    event_id = waiting(ledger, "buffer_all", 2)
    first = execution(ledger, event_id, 10)
    ledger.run(
        ExecutionRow.update(fate="succeeded", started_at=ledger.now, ended_at=ledger.now)
        .where(ExecutionRow.id == first.id)
        .execute
    )
    claims = ledger.claim().claims
    ledger.run(ledger.here.claims.give_back, claims, now=ledger.now)
    assert execution(ledger, event_id, 20).node is None
    assert [claim.id for claim in ledger.claim(node=ledger.there).claims] == [claims[0].id]


def test_another_node_is_told_what_became_of_its_executions(ledger: Ledger) -> None:
    cancels = ledger.add(every(seconds=10), overlap="cancel_other")
    terminates = ledger.add(every(seconds=10), overlap="terminate_other")
    ledger.clock.advance(10.0)
    theirs = {claim.event_id: claim for claim in ledger.claim(node=ledger.there).claims}
    ledger.clock.advance(10.0)
    found = ledger.claim()
    assert (found.told, found.terminated) == ((), ()), "nothing of this node's"
    assert [claim.event_id for claim in found.claims] == [terminates]
    off = ledger.run(ledger.there.leases.called_off)
    assert off.told == (theirs[cancels].id,)
    (written,) = off.terminated
    assert (written.execution_id, written.attempt, written.ended_us) == (
        theirs[terminates].id,
        1,
        ledger.now,
    )
    assert ledger.run(ledger.here.leases.called_off).told == ()


@pytest.mark.parametrize("overlap", ["cancel_other", "terminate_other"])
def test_what_has_ended_and_is_not_recorded_yet_is_left_alone(ledger: Ledger, overlap: str) -> None:
    event_id = ledger.add(every(seconds=10), overlap=overlap)
    ledger.clock.advance(10.0)
    (ended,) = ledger.claim().claims
    ledger.clock.advance(10.0)
    found = ledger.claim(settled=[ledger.outcome(ended)])
    assert (found.told, found.terminated) == ((), ())
    assert [claim.due for claim in found.claims] == [ledger.now]
    assert ledger.end(ended) == ()
    assert ledger.fates(event_id)[0] == (10, "succeeded", None)
    assert not execution(ledger, event_id, 10).cancel_requested


def test_what_waits_for_another_attempt_is_ended_by_a_newer_instant(ledger: Ledger) -> None:
    ids = {
        overlap: ledger.add(
            every(seconds=10), overlap=overlap, retries=3, retry_delay=60.0, retry_jitter=0.0
        )
        for overlap in ("skip", "buffer_one", "cancel_other", "terminate_other")
    }
    ledger.clock.advance(10.0)
    ledger.end(*ledger.claim().claims, fate=Fate.FAILED)
    ledger.clock.advance(10.0)
    found = ledger.claim()
    assert {claim.event_id for claim in found.claims} == {*ids.values()} - {ids["skip"]}
    assert (found.told, found.terminated) == ((), ())
    assert ledger.gaps(ids["skip"]) == [(20, 20, 1, "skipped", "overlap")]
    assert ledger.fates(ids["buffer_one"])[0] == (10, "pending", None), "it is tried again later"
    for overlap in ("cancel_other", "terminate_other"):
        assert ledger.fates(ids[overlap])[0] == (10, "cancelled", "overlap")
    ledger.check_accounts()


def test_what_was_told_to_stop_and_failed_is_not_tried_again(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="cancel_other", retries=3)
    ledger.clock.advance(10.0)
    first = ledger.claim().claims
    ledger.clock.advance(10.0)
    assert ledger.claim().told == (first[0].id,)
    ledger.end(*first, fate=Fate.CANCELLED)
    assert ledger.fates(event_id) == [(10, "cancelled", "overlap"), (20, "pending", None)]


def test_what_was_told_to_stop_and_died_with_its_process_is_over(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="cancel_other")
    ledger.clock.advance(10.0)
    ledger.claim(node=ledger.there)
    ledger.clock.advance(10.0)
    ledger.claim()
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    assert ledger.fates(event_id)[0] == (10, "cancelled", "overlap")
    assert [claim.attempt for claim in ledger.claim().claims] == [1]


def test_what_terminated_runs_on_in_a_process_that_died_runs_no_more(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="terminate_other")
    ledger.clock.advance(10.0)
    ledger.claim(node=ledger.there)
    ledger.clock.advance(10.0)
    ledger.claim()
    assert execution(ledger, event_id, 10).still_running
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    assert not execution(ledger, event_id, 10).still_running


@pytest.mark.on_sqlite
def test_a_line_of_many_costs_a_look_no_more_than_one_of_one(ledger: Ledger) -> None:
    waiting(ledger, "buffer_all", 1)
    one = steps(ledger)
    waiting(ledger, "buffer_all", 200)
    assert steps(ledger) < one + 200


def steps(ledger: Ledger) -> int:
    """How many steps of its machine SQLite takes for a claim that finds nothing."""
    ledger.claim()
    connection = ledger.db.connection()
    count = 0

    def tick() -> bool:
        nonlocal count
        count += 1
        return False

    connection.set_progress_handler(tick, 1)
    try:
        assert ledger.claim().claims == ()
    finally:
        connection.set_progress_handler(None)
    return count
