"""Retention: what goes, what stays, and that the account is true afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.errors import EventNotFound
from kalends.model import Fate
from kalends.queries import JournalQuery
from kalends.storage.journal import list_entries
from kalends.storage.models import AttemptRow, DefinitionRow, EventRow, GapRow, JournalRow, MetaRow
from kalends.storage.retention import Pruned, prune
from kalends.triggers import every

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

S, F = Fate.SUCCEEDED, Fate.FAILED


def tidy(
    ledger: Ledger,
    *,
    age: float | None = None,
    count: int | None = None,
    gaps: float | None = None,
    limit: int = 1000,
) -> Pruned:
    return ledger.run(
        prune,
        ledger.dialect,
        ledger.ids,
        now=ledger.now,
        retain_age_us=None if age is None else round(age * US),
        retain_count=count,
        retain_gaps_us=None if gaps is None else round(gaps * US),
        limit=limit,
    )


def live(ledger: Ledger, *fates: Fate) -> None:
    for fate in fates:
        ledger.clock.advance(10.0)
        ledger.end(*ledger.claim().claims, fate=fate)


def test_old_executions_become_gaps_of_their_fate(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, S, S, F, S, S, S)
    assert tidy(ledger, age=15.0) == Pruned(executions=4)
    assert ledger.fates(event_id) == [(50, "succeeded", None), (60, "succeeded", None)]
    assert ledger.gaps(event_id) == [
        (10, 20, 2, "succeeded", None),
        (30, 30, 1, "failed", None),
        (40, 40, 1, "succeeded", None),
    ]
    assert ledger.check_accounts() == 6


def test_the_age_is_counted_from_the_end(ledger: Ledger) -> None:
    ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    held = ledger.claim().claims
    ledger.clock.advance(100.0)
    assert tidy(ledger, age=50.0) == Pruned(), "it has not ended"
    ledger.end(*held)
    assert tidy(ledger, age=50.0) == Pruned(), "it has ended only now"
    ledger.clock.advance(50.0)
    assert tidy(ledger, age=50.0) == Pruned(), "the limit itself is kept"
    ledger.clock.advance(1.0)
    assert tidy(ledger, age=50.0) == Pruned(executions=1)


def test_a_later_call_lengthens_the_gap(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, S, S, S, S)
    for expected in (1, 2, 3, 4):
        assert tidy(ledger, age=-1.0, limit=1) == Pruned(executions=1, more=True)
        assert ledger.gaps(event_id) == [(10, expected * 10, expected, "succeeded", None)]
        ledger.check_accounts()
    assert tidy(ledger, age=-1.0, limit=1) == Pruned()


def test_a_gap_does_not_grow_over_what_is_kept(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="allow_all")
    live(ledger, S)
    ledger.clock.advance(10.0)
    ledger.claim()  # stays open
    live(ledger, S)
    assert tidy(ledger, age=-1.0) == Pruned(executions=2)
    assert ledger.gaps(event_id) == [
        (10, 10, 1, "succeeded", None),
        (30, 30, 1, "succeeded", None),
    ]
    ledger.check_accounts()


def test_a_gap_does_not_grow_over_another(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, S)
    ledger.set_status(event_id, "pause")
    ledger.clock.advance(10.0)
    ledger.set_status(event_id, "resume")
    live(ledger, S)
    tidy(ledger, age=-1.0)
    assert [(first, count, fate) for first, _, count, fate, _ in ledger.gaps(event_id)] == [
        (10, 1, "succeeded"),
        (20, 1, "skipped"),
        (30, 1, "succeeded"),
    ]
    ledger.check_accounts()


def test_versions_are_kept_apart(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, S)
    ledger.run(
        ledger.here.events.update,
        event_id,
        Changes(note="x"),
        now=ledger.now,
        version=None,
        author=None,
        given_back=(),
    )
    live(ledger, S)
    tidy(ledger, age=-1.0)
    versions = ledger.rows(GapRow.select(GapRow.version).order_by(GapRow.first))
    assert versions == [(1,), (2,)]


def test_manual_executions_leave_no_gap(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(3.0)
    ledger.end(ledger.trigger(event_id))
    assert tidy(ledger, age=-1.0) == Pruned(executions=1)
    assert ledger.gaps(event_id) == []


def test_a_manual_execution_does_not_part_a_gap(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="allow_all")
    live(ledger, S)
    ledger.clock.advance(3.0)
    ledger.trigger(event_id)  # stays open
    live(ledger, S)
    tidy(ledger, age=-1.0)
    assert [gap[2] for gap in ledger.gaps(event_id)] == [2]


def test_attempts_go_with_their_execution(ledger: Ledger) -> None:
    ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    ledger.claim(node=ledger.there)
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    ledger.end(*ledger.claim().claims)
    assert len(ledger.rows(AttemptRow.select(AttemptRow.number))) == 1
    tidy(ledger, age=-1.0)
    assert ledger.rows(AttemptRow.select(AttemptRow.number)) == []


# -- by count ----------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 1, 3, 6, 7])
def test_only_the_newest_are_kept(ledger: Ledger, keep: int) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, *[S] * 6)
    assert tidy(ledger, count=keep) == Pruned(executions=max(0, 6 - keep))
    assert [due for due, *_ in ledger.fates(event_id)] == [10, 20, 30, 40, 50, 60][
        max(0, 6 - keep) :
    ]
    assert ledger.check_accounts() == 6


def test_open_executions_count_and_stay(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="allow_all")
    ledger.clock.advance(10.0)
    ledger.claim()
    live(ledger, S, S)
    assert tidy(ledger, count=1) == Pruned(executions=1)
    assert [due for due, *_ in ledger.fates(event_id)] == [10, 30]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
def test_small_steps_come_to_the_same_as_one(ledger: Ledger, limit: int) -> None:
    events = [ledger.add(every(seconds=10)) for _ in range(5)]
    live(ledger, S, S, S, S)
    total = calls = 0
    while True:
        done = tidy(ledger, count=2, limit=limit)
        assert done.executions <= limit
        total += done.executions
        calls += 1
        ledger.check_accounts()
        if not done.more:
            break
        assert calls < 100
    assert total == 10
    for event_id in events:
        assert ledger.gaps(event_id) == [(10, 20, 2, "succeeded", None)]
    assert ledger.rows(MetaRow.select(MetaRow.key)) == [("schema",)], "the way begins anew"


def test_age_and_count_together_prune_what_either_would(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, *[S] * 6)
    assert tidy(ledger, age=45.0, count=4) == Pruned(executions=2)
    assert tidy(ledger, age=25.0, count=4) == Pruned(executions=1)
    assert len(ledger.fates(event_id)) == 3


# -- gaps, journal, tombstones ------------------------------------------------------------------


def test_where_a_gap_goes_the_account_begins_after_it(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    start = ledger.now
    ledger.clock.advance(40.0)
    ledger.end(*ledger.claim().claims)
    ledger.clock.advance(10.0)
    ledger.end(*ledger.claim().claims)
    tidy(ledger, age=-1.0)
    assert ledger.gaps(event_id) == [
        (10, 30, 3, "skipped", "coalesced"),
        (40, 50, 2, "succeeded", None),
    ]
    assert tidy(ledger, gaps=20.0).gaps == 0, "it ends at the limit, not before"
    assert tidy(ledger, gaps=19.0).gaps == 1
    assert ledger.gaps(event_id) == [(40, 50, 2, "succeeded", None)]
    assert ledger.event(event_id).accounted_from == from_us(start + 30 * US + 1)
    assert ledger.check_accounts() == 2
    assert tidy(ledger, gaps=5.0).gaps == 0, "a gap that is old in part stays whole"


def test_the_account_never_begins_earlier_than_it_did(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, S, S, S)
    before = ledger.event(event_id).accounted_from
    tidy(ledger, gaps=0.0)
    assert ledger.event(event_id).accounted_from == before
    tidy(ledger, age=-1.0, gaps=-1.0)
    after = ledger.event(event_id).accounted_from
    assert after > before
    ledger.check_accounts()


def test_rules_that_lie_before_the_account_go(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(25.0)
    for _ in range(2):
        ledger.run(
            ledger.here.events.update,
            event_id,
            Changes(trigger=every(seconds=ledger.clock.monotonic())),
            now=ledger.now,
            version=None,
            author=None,
            given_back=(),
        )
        ledger.clock.advance(60.0)
    assert len(ledger.rows(DefinitionRow.select(DefinitionRow.version))) == 2
    tidy(ledger, gaps=50.0)
    ledger.check_accounts()
    ledger.claim()
    ledger.clock.advance(3600.0)
    ledger.claim()
    tidy(ledger, gaps=10.0)
    ledger.check_accounts()
    assert ledger.rows(DefinitionRow.select(DefinitionRow.version)) == []


def test_old_journal_entries_go(ledger: Ledger) -> None:
    for _ in range(5):
        ledger.add()
        ledger.clock.advance(10.0)
    assert tidy(ledger, gaps=25.0, limit=2) == Pruned(journal=2, more=True)
    assert tidy(ledger, gaps=25.0, limit=2) == Pruned(journal=1)
    assert len(ledger.rows(JournalRow.select(JournalRow.id))) == 2


def test_a_tombstone_goes_when_nothing_is_left_of_it(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), name="mine")
    live(ledger, S)
    ledger.clock.advance(15.0)
    ledger.set_status(event_id, "delete")
    young = ledger.add()
    ledger.clock.advance(100.0)
    ledger.set_status(young, "delete")
    tidy(ledger, gaps=50.0)
    assert ledger.event(event_id).status == "deleted", "an execution is left"
    tidy(ledger, age=50.0, gaps=50.0)
    tidy(ledger, age=50.0, gaps=50.0)
    with pytest.raises(EventNotFound):
        ledger.event(event_id)
    assert ledger.event(young).status == "deleted"
    assert ledger.rows(DefinitionRow.select(DefinitionRow.event_id)) == [(young,)]
    assert all(line.event_id != event_id for line in ledger.run(list_entries, JournalQuery()).items)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_tombstones_are_looked_at_a_stretch_at_a_time(ledger: Ledger, limit: int) -> None:
    for _ in range(7):
        ledger.set_status(ledger.add(), "delete")
    kept = ledger.add()
    ledger.clock.advance(100.0)
    calls = 0
    while tidy(ledger, gaps=50.0, limit=limit).more:
        calls += 1
        assert calls < 50
    assert [event for (event,) in _ids(ledger)] == [kept]


def _ids(ledger: Ledger) -> list[tuple[Any, ...]]:
    return ledger.rows(EventRow.select(EventRow.id))


def test_with_nothing_to_do_nothing_is_done(ledger: Ledger) -> None:
    ledger.add()
    assert tidy(ledger, age=1.0, count=1, gaps=1.0) == Pruned()
    assert tidy(ledger) == Pruned()


def test_a_claim_whose_successors_were_pruned_is_not_made_due_again(ledger: Ledger) -> None:
    ledger.add(every(seconds=10), catch_up="earliest")
    ledger.clock.advance(35.0)
    held = ledger.claim().claims
    tidy(ledger, gaps=-1.0)
    assert ledger.run(ledger.here.claims.give_back, held, now=ledger.now) == {}
    ledger.check_accounts()


def test_what_lies_before_the_account_is_pruned_without_a_gap(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, S)
    ledger.set_status(event_id, "pause")
    ledger.clock.advance(10.0)
    ledger.set_status(event_id, "resume")
    live(ledger, S)
    tidy(ledger, gaps=5.0)
    tidy(ledger, age=-1.0)
    assert ledger.gaps(event_id) == [(30, 30, 1, "succeeded", None)]
    ledger.check_accounts()


def test_an_old_gap_does_not_pull_a_later_beginning_of_the_account_back(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(45.0)
    ledger.claim()
    ledger.run(EventRow.update(trigger="?").where(EventRow.id == event_id).execute)
    ledger.run(
        ledger.here.events.update,
        event_id,
        Changes(trigger=every(seconds=10)),
        now=ledger.now,
        version=None,
        author=None,
        given_back=(),
    )
    before = ledger.event(event_id).accounted_from
    assert tidy(ledger, gaps=1.0).gaps == 1
    assert ledger.event(event_id).accounted_from == before
