"""Claiming: what is due gets exactly one fate, and what cannot be carried out is parked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import US, from_us
from kalends.errors import ConflictError, EventNotFound, ValidationFailed
from kalends.model import EventStatus, Fate, JournalKind
from kalends.policies import Overlap
from kalends.queries import JournalQuery
from kalends.retrying import Ask
from kalends.storage import claims as claims_module
from kalends.storage.journal import list_entries
from kalends.storage.models import EventRow, ExecutionRow
from kalends.triggers import Trigger, every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def seconds(ledger: Ledger, due: int | None, start: int) -> float | None:
    return None if due is None else (due - start) / US


def test_an_instant_is_claimed_when_it_is_due_and_not_before(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), name="mine", job="work", arguments='{"args":[1]}')
    first = ledger.claim()
    assert (first.claims, first.next_due) == ((), ledger.now + 10 * US)
    ledger.clock.advance(10.0)
    found = ledger.claim()
    claim = found.claims[0]
    assert (claim.event_id, claim.event_name, claim.job) == (event_id, "mine", "work")
    assert (claim.arguments, claim.due, claim.attempt) == ('{"args":[1]}', ledger.now, 1)
    assert (claim.serial, claim.manual, claim.version) == (True, False, 1)
    assert (found.next_due, found.blocked_until, found.more) == (ledger.now + 10 * US, None, False)
    assert ledger.fates(event_id) == [(10, "pending", None)]
    assert ledger.claim().claims == (), "once is once"


def test_an_instant_within_the_horizon_is_claimed_ahead(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    assert ledger.claim(ahead=9.0).claims == ()
    held = ledger.claim(ahead=10.0).claims
    assert [claim.due for claim in held] == [ledger.now + 10 * US]
    ledger.check_accounts()
    assert ledger.event(event_id).next_due == from_us(ledger.now + 20 * US)


def test_an_event_that_still_runs_is_not_claimed_ahead_and_says_until_when(
    ledger: Ledger,
) -> None:
    ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    ledger.claim()
    ledger.clock.advance(9.0)
    found = ledger.claim(ahead=5.0)
    assert (found.claims, found.blocked_until) == ((), ledger.now + US)
    assert found.next_due is None


def test_what_is_due_while_the_event_still_runs_is_skipped_as_overlap(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    ledger.claim()
    for _ in range(3):
        ledger.clock.advance(10.0)
        assert ledger.claim().claims == ()
    assert ledger.gaps(event_id) == [(20, 40, 3, "skipped", "overlap")], "one gap, lengthened"
    ledger.check_accounts()


def test_what_may_overlap_runs_beside_the_others(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="allow_all")
    for _ in range(3):
        ledger.clock.advance(10.0)
        assert [claim.serial for claim in ledger.claim().claims] == [False]
    assert len(ledger.fates(event_id)) == 3


def test_an_execution_that_ended_but_is_not_recorded_yet_does_not_block(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    held = ledger.claim().claims
    ledger.clock.advance(10.0)
    settled = [ledger.outcome(claim) for claim in held]
    assert len(ledger.claim(settled=settled).claims) == 1
    assert ledger.gaps(event_id) == []


@pytest.mark.parametrize(
    ("fate", "ask", "retries", "over"),
    [
        (Fate.FAILED, None, 0, True),
        (Fate.FAILED, None, 1, False),
        (Fate.TIMED_OUT, None, 1, False),
        (Fate.FAILED, Ask(True, 5), 0, False),
        (Fate.CANCELLED, Ask(False, 5), 0, False),
        (Fate.CANCELLED, None, 1, True),
        (Fate.SUCCEEDED, None, 1, True),
    ],
)
def test_what_may_be_tried_again_and_is_not_recorded_yet_still_counts_as_running(
    ledger: Ledger, fate: Fate, ask: Ask | None, retries: int, over: bool
) -> None:
    event_id = ledger.add(every(seconds=10), retries=retries)
    ledger.clock.advance(10.0)
    (claim,) = ledger.claim().claims
    ledger.clock.advance(10.0)
    settled = [ledger.outcome(claim, fate, ask=ask)]
    assert len(ledger.claim(settled=settled).claims) == over
    assert ledger.gaps(event_id) == ([] if over else [(20, 20, 1, "skipped", "overlap")])


@pytest.mark.parametrize(
    ("policies", "run", "gaps"),
    [
        ({"catch_up": "latest"}, [50], [(10, 40, 4, "skipped", "coalesced")]),
        ({"catch_up": "earliest"}, [10], [(20, 50, 4, "skipped", "coalesced")]),
        ({"catch_up": "all"}, [10, 20, 30, 40, 50], []),
        (
            {"catch_up": "all", "catch_up_limit": 2},
            [40, 50],
            [(10, 30, 3, "skipped", "missed")],
        ),
        ({"catch_up": "skip"}, [50], [(10, 40, 4, "skipped", "missed")]),
        (
            {"catch_up": "latest", "catch_up_window": 25.0},
            [50],
            [(10, 20, 2, "skipped", "missed"), (30, 40, 2, "skipped", "coalesced")],
        ),
    ],
)
def test_what_was_missed_is_caught_up_by_policy(
    ledger: Ledger,
    policies: dict[str, Any],
    run: list[int],
    gaps: list[tuple[int, int, int, str, str]],
) -> None:
    event_id = ledger.add(every(seconds=10), **policies)
    start = ledger.now
    ledger.clock.advance(53.0)
    # One at a time: the others wait, and nobody has claimed them.
    assert [seconds(ledger, claim.due, start) for claim in ledger.claim().claims] == run[:1]
    assert [due for due, _, _ in ledger.fates(event_id)] == run
    assert ledger.gaps(event_id) == gaps
    assert ledger.check_accounts() == 5


def test_a_month_of_missed_seconds_is_one_gap(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=1))
    ledger.clock.jump(30 * 86_400.0)
    assert len(ledger.claim().claims) == 1
    gaps = ledger.gaps(event_id)
    assert sum(count for _, _, count, _, _ in gaps) == 30 * 86_400 - 1
    assert [reason for *_, reason in gaps] == ["missed", "coalesced"]


def test_a_rule_that_ends_completes_its_event(ledger: Ledger) -> None:
    event_id = ledger.add(once(from_us(ledger.now + US)))
    ledger.clock.advance(1.0)
    assert len(ledger.claim().claims) == 1
    event = ledger.event(event_id)
    assert (event.status, event.next_due) == (EventStatus.COMPLETED, None)


def test_a_full_batch_says_that_there_is_more(ledger: Ledger) -> None:
    for _ in range(5):
        ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    first = ledger.claim(limit=3)
    second = ledger.claim(limit=3)
    assert (len(first.claims), first.more) == (3, True)
    assert (len(second.claims), second.more) == (2, False)


def test_two_nodes_never_claim_one_instant(ledger: Ledger) -> None:
    for _ in range(20):
        ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    mine = ledger.claim(limit=8).claims
    theirs = ledger.claim(node=ledger.there).claims
    assert len(mine) + len(theirs) == 20
    assert {claim.id for claim in mine}.isdisjoint(claim.id for claim in theirs)


# -- quarantine --------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["trigger", "policies"])
def test_an_unreadable_event_is_quarantined_and_the_others_go_on(
    ledger: Ledger, field: str
) -> None:
    bad, good = ledger.add(every(seconds=10)), ledger.add(every(seconds=10))
    ledger.run(EventRow.update(**{field: "?"}).where(EventRow.id == bad).execute)
    ledger.clock.advance(10.0)
    assert [claim.event_id for claim in ledger.claim().claims] == [good]
    assert ledger.event(bad).status is EventStatus.QUARANTINED
    line = ledger.run(list_entries, JournalQuery(event_id=bad)).items[0]
    assert line.kind is JournalKind.EVENT_QUARANTINED
    assert "ValidationFailed" in line.details["error"]


class _Raises(Trigger):
    """A rule with a bug."""

    __slots__ = ()

    def next_us(self, after_us: int) -> int | None:
        raise ZeroDivisionError

    def previous_us(self, before_us: int) -> int | None:
        raise ZeroDivisionError

    def count_us(self, a: int, b: int) -> int:
        raise ZeroDivisionError

    def describe(self) -> str:
        return "raises"

    def to_json(self) -> dict[str, Any]:
        return {}

    def _key(self) -> tuple[object, ...]:
        return ()


def test_a_rule_that_raises_is_quarantined(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    monkeypatch.setattr(claims_module, "load_trigger", lambda text: _Raises())
    assert ledger.claim().claims == ()
    assert ledger.event(event_id).status is EventStatus.QUARANTINED


def test_a_claim_that_cannot_be_carried_out_is_skipped_and_its_event_quarantined(
    ledger: Ledger,
) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    claim = ledger.claim().claims[0]
    ledger.run(ledger.here.claims.refuse, claim, now=ledger.now, error="no such job")
    assert ledger.fates(event_id) == [(10, "skipped", "quarantined")]
    execution = ledger.run(ledger.here.executions.get, claim.id)
    assert (execution.attempts, execution.ended_at) == ((), from_us(ledger.now))
    assert ledger.event(event_id).status is EventStatus.QUARANTINED


def test_a_refusal_of_a_claim_that_was_lost_does_not_touch_the_execution(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    claim = ledger.claim().claims[0]
    ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=1)
    assert len(ledger.claim(node=ledger.there).claims) == 1
    ledger.run(ledger.here.claims.refuse, claim, now=ledger.now, error="late")
    assert ledger.fates(event_id) == [(10, "pending", None)]


# -- on demand ---------------------------------------------------------------------------------


def test_a_manual_execution_lies_outside_of_the_account(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    manual = ledger.trigger(event_id)
    again = ledger.trigger(event_id, overlap=Overlap.ALLOW_ALL)
    assert (manual.manual, manual.due - ledger.now, again.due - ledger.now) == (True, 1, 2)
    assert ledger.event(event_id).next_due == from_us(ledger.now), "the rule's own is untouched"
    ledger.check_accounts()


def test_a_paused_event_can_be_triggered_by_hand(ledger: Ledger) -> None:
    event_id = ledger.add()
    ledger.clock.advance(3.0)
    ledger.set_status(event_id, "pause")
    assert ledger.trigger(event_id).due == ledger.now


def test_unknown_deleted_and_unreadable_events_cannot_be_triggered(ledger: Ledger) -> None:
    deleted, unreadable = ledger.add(), ledger.add()
    ledger.set_status(deleted, "delete")
    ledger.run(EventRow.update(policies="?").where(EventRow.id == unreadable).execute)
    for event_id, error in (
        ("nothing", EventNotFound),
        (deleted, EventNotFound),
        (unreadable, ValidationFailed),
    ):
        with pytest.raises(error):
            ledger.trigger(event_id)


def test_a_rule_of_every_microsecond_leaves_no_room_for_manual_executions(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=1e-6))
    with pytest.raises(ConflictError):
        ledger.trigger(event_id)


def test_a_manual_execution_makes_way_for_an_instant_of_the_rule(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(5.0)
    manual = ledger.trigger(event_id)
    ledger.run(
        ExecutionRow.update(due=ledger.now + 5 * US).where(ExecutionRow.id == manual.id).execute
    )
    ledger.end(manual)
    ledger.clock.advance(5.0)
    claim = ledger.claim().claims[0]
    assert claim.due == ledger.now
    assert ledger.run(ledger.here.executions.get, manual.id).due == from_us(ledger.now + 1)
    assert ledger.check_accounts() == 1


def test_an_instant_that_has_a_fate_already_keeps_it(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    ledger.end(*ledger.claim().claims)
    ledger.run(EventRow.update(next_due=ledger.now).where(EventRow.id == event_id).execute)
    assert ledger.claim().claims == ()
    assert ledger.fates(event_id) == [(10, "succeeded", None)]
