"""Backfills: which instants run after all, where they stood before, and how far it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from kalends.backfills import Backfill
from kalends.clock import US, from_us, to_us
from kalends.drafts import Changes
from kalends.errors import (
    BackfillNotFound,
    EventNotFound,
    StorageRefused,
    TransitionError,
    ValidationFailed,
)
from kalends.model import EventStatus, Fate
from kalends.queries import ExecutionQuery, JournalQuery
from kalends.storage.backfills import cancel_backfill, find_backfill, plan_backfill
from kalends.storage.journal import list_entries
from kalends.storage.models import ExecutionRow, JournalRow
from kalends.storage.quarantine import quarantine
from kalends.storage.retention import prune
from kalends.triggers import Trigger, cron, every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

START = 1_800_000_000 * US


def backfill(
    ledger: Ledger, event_id: str, start: float, end: float, limit: int = 1000, **who: Any
) -> Backfill:
    """A backfill of a time given in seconds from START."""
    stamp = ledger.here.events.stamp(ledger.now, who.get("author"), who.get("note"))
    first, last = (START + round(seconds * US) for seconds in (start, end))
    return ledger.run(plan_backfill, event_id, first, last, limit, stamp)


def cancel(ledger: Ledger, backfill_id: str, **more: Any) -> Backfill:
    stamp = ledger.here.events.stamp(ledger.now, "ola", "enough")
    return ledger.run(cancel_backfill, backfill_id, stamp, **more)


def reschedule(ledger: Ledger, event_id: str, trigger: Trigger) -> None:
    ledger.run(
        ledger.here.events.update, event_id, Changes(trigger=trigger),
        now=ledger.now, version=None, author=None, given_back=(),
    )  # fmt: skip


def at(seconds: float) -> pendulum.DateTime:
    return from_us(START + round(seconds * US))


def counts(found: Backfill) -> tuple[int, int, int]:
    return found.planned, found.existing, found.remaining


def run_all(ledger: Ledger, **how: Any) -> list[float]:
    """Claim and end whatever waits; the instants in the order in which they were claimed."""
    ran: list[float] = []
    while claims := ledger.claim().claims:
        ran += [(claim.due - START) / US for claim in claims]
        ledger.end(*claims, **how)
    return ran


@pytest.fixture
def missed(ledger: Ledger) -> str:
    """An event of every ten seconds, of which 10 to 50 were missed and 60 ran."""
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(65.0)
    ledger.end(*ledger.claim().claims)
    assert ledger.gaps(event_id) == [(10, 50, 5, "skipped", "coalesced")]
    assert ledger.fates(event_id) == [(60, "succeeded", None)]
    return event_id


# -- what is run -------------------------------------------------------------------------------


def test_a_gap_is_split_and_what_was_asked_for_waits_in_its_own_executions(
    ledger: Ledger, missed: str
) -> None:
    found = backfill(ledger, missed, 15, 45, author="ola", note="disk was full")
    assert counts(found) == (3, 0, 0)
    assert (found.start, found.end, found.asked_at) == (at(15), at(45), from_us(ledger.now))
    assert (found.event_id, found.author, found.note) == (missed, "ola", "disk was full")
    assert (found.resume_from, found.fates, found.done) == (None, {Fate.PENDING: 3}, 0.0)
    assert ledger.gaps(missed) == [
        (10, 10, 1, "skipped", "coalesced"), (50, 50, 1, "skipped", "coalesced"),
    ]  # fmt: skip
    ledger.check_accounts()
    query = ExecutionQuery(backfill=found.id, descending=False)
    items = ledger.run(ledger.here.executions.list, query).items
    assert [item.due for item in items] == [at(20), at(30), at(40)]
    for item in items:
        assert (item.fate, item.manual, item.backfill) == (Fate.PENDING, False, found.id)
        assert (item.ready_at, item.attempts) == (from_us(ledger.now), ())
    assert run_all(ledger) == [20, 30, 40]
    ledger.check_accounts()
    done = ledger.run(find_backfill, found.id)
    assert (done.fates, done.done) == ({Fate.SUCCEEDED: 3}, 1.0)


def test_the_end_is_not_part_of_the_range_and_what_has_run_is_not_run_again(
    ledger: Ledger, missed: str
) -> None:
    assert counts(backfill(ledger, missed, 30, 65)) == (3, 1, 0)
    assert counts(backfill(ledger, missed, 30, 60)) == (0, 3, 0)
    assert counts(backfill(ledger, missed, 20, 30)) == (1, 0, 0)
    ledger.check_accounts()


def test_instants_before_the_event_existed_follow_its_rule(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    found = backfill(ledger, event_id, -45, 0)
    assert counts(found) == (4, 0, 0)
    assert run_all(ledger) == [-40, -30, -20, -10]
    assert ledger.check_accounts() == 0, "they are outside of the account"
    assert counts(backfill(ledger, event_id, -65, 0)) == (2, 4, 0)
    assert ledger.event(event_id).next_due == at(10)


def test_an_instant_follows_the_rule_that_was_in_force_then(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.set_status(event_id, "pause")
    ledger.clock.advance(35.0)
    reschedule(ledger, event_id, every(seconds=7, anchor=at(0)))
    ledger.clock.advance(20.0)
    ledger.set_status(event_id, "resume")
    found = backfill(ledger, event_id, -10, 55)
    # The current rule before there was any, the first one up to its end, then the second.
    assert run_all(ledger) == [-7, 0, 10, 20, 30, 42, 49]
    assert counts(found) == (7, 0, 0)
    versions = ExecutionRow.select(ExecutionRow.version).order_by(ExecutionRow.due)
    assert [version for (version,) in ledger.rows(versions)] == [4, 4, 2, 2, 2, 4, 4]
    ledger.check_accounts()


def test_a_night_of_daylight_saving_is_run_as_the_rule_says(ledger: Ledger) -> None:
    # Oslo, 2026-10-25: 02:30 comes twice, and a fixed-time rule is due at the first.
    event_id = ledger.add(cron("30 2 * * *", tz="Europe/Oslo"))
    start = pendulum.datetime(2026, 10, 24, tz="Europe/Oslo")
    stamp = ledger.here.events.stamp(ledger.now, None)
    ledger.run(plan_backfill, event_id, to_us(start), to_us(start.add(days=3)), 10, stamp)
    dues = ledger.rows(ExecutionRow.select(ExecutionRow.due).order_by(ExecutionRow.due))
    shown = [from_us(due).in_tz("Europe/Oslo").isoformat() for (due,) in dues]
    assert shown == [
        "2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00",
    ]  # fmt: skip


def test_what_was_parked_before_it_began_runs_after_all(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), catch_up="earliest")
    ledger.clock.advance(35.0)
    ledger.run(ledger.here.claims.give_back, ledger.claim().claims, now=ledger.now)
    ledger.set_status(event_id, "pause")
    ledger.set_status(event_id, "resume")
    assert ledger.fates(event_id) == [(10, "skipped", "paused")]
    found = backfill(ledger, event_id, 5, 15)
    assert counts(found) == (1, 0, 0)
    assert run_all(ledger) == [10]
    assert ledger.fates(event_id) == [(10, "succeeded", None)]
    ledger.check_accounts()


def test_what_retention_has_folded_has_run(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    for _ in range(3):
        ledger.clock.advance(10.0)
        ledger.end(*ledger.claim().claims)
    ledger.run(
        prune, ledger.dialect, ledger.ids, now=ledger.now + 1, retain_age_us=0,
        retain_count=None, retain_gaps_us=None, limit=100,
    )  # fmt: skip
    assert ledger.gaps(event_id) == [(10, 30, 3, "succeeded", None)]
    assert counts(backfill(ledger, event_id, 5, 30)) == (0, 2, 0)


def test_a_manual_execution_at_the_instant_makes_way(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=7))
    ledger.clock.advance(10.0)
    manual = ledger.trigger(event_id)
    reschedule(ledger, event_id, every(seconds=10, anchor=at(0)))
    ledger.clock.advance(1.0)
    ledger.end(manual)
    found = backfill(ledger, event_id, -25, 0.0)
    ledger.run(ExecutionRow.update(due=START - 30 * US).where(ExecutionRow.id == manual.id).execute)
    again = backfill(ledger, event_id, -35, 0.0)
    assert (counts(found), counts(again)) == ((2, 0, 0), (1, 2, 0))
    assert ledger.run(ledger.here.executions.get, manual.id).due == at(-29.999999)


# -- the limit ---------------------------------------------------------------------------------


def test_the_limit_leaves_the_rest_to_another_call(ledger: Ledger, missed: str) -> None:
    first = backfill(ledger, missed, -25, 65, limit=4)
    assert counts(first) == (4, 1, 4)
    assert first.resume_from == at(20)
    second = backfill(ledger, missed, 20, 65, limit=3)
    assert (counts(second), second.resume_from) == ((3, 1, 1), at(50))
    third = backfill(ledger, missed, 50, 65, limit=3)
    assert (counts(third), third.resume_from) == ((1, 1, 0), None)
    ledger.check_accounts()
    assert run_all(ledger) == [-20, -10, 0, 10, 20, 30, 40, 50]


def test_ten_years_of_seconds_are_counted_and_not_walked(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=1))
    years = 10 * 365 * 86_400
    found = backfill(ledger, event_id, -years, 0, limit=2)
    assert counts(found) == (2, 0, years - 2)


# -- nothing decided yet -----------------------------------------------------------------------


def test_what_nobody_has_decided_on_yet_is_run_whatever_catch_up_says(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), catch_up="skip")
    ledger.clock.advance(1000.0)
    found = backfill(ledger, event_id, 5, 55, limit=3)
    assert (counts(found), found.resume_from) == ((3, 0, 2), at(40))
    assert ledger.event(event_id).next_due == at(40)
    assert run_all(ledger)[:3] == [10, 20, 30]
    assert ledger.gaps(event_id)[0][:2] == (40, 990)
    ledger.check_accounts()


def test_what_is_due_before_the_range_comes_first(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), catch_up="all")
    ledger.clock.advance(55.0)
    found = backfill(ledger, event_id, 25, 55)
    assert (counts(found), found.resume_from) == ((0, 0, 3), at(30))
    assert ledger.event(event_id).next_due == at(10)


def test_of_a_paused_event_what_was_due_before_the_range_is_paused(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.set_status(event_id, "pause")
    ledger.clock.advance(55.0)
    found = backfill(ledger, event_id, 25, 45)
    assert counts(found) == (2, 0, 0)
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "paused")]
    assert ledger.event(event_id).next_due == at(50)
    assert ledger.claim().claims == (), "it waits until the event is looked at again"
    ledger.check_accounts()
    ledger.set_status(event_id, "resume")
    assert run_all(ledger) == [30, 40]
    assert ledger.gaps(event_id)[1] == (50, 50, 1, "skipped", "paused")
    ledger.check_accounts()


def test_a_rule_that_ended_in_the_range_completes_its_event(ledger: Ledger) -> None:
    event_id = ledger.add(once(at(10)), catch_up="skip")
    ledger.clock.advance(100.0)
    assert counts(backfill(ledger, event_id, 5, 50)) == (1, 0, 0)
    assert ledger.event(event_id).status is EventStatus.COMPLETED
    assert run_all(ledger) == [10]
    assert counts(backfill(ledger, event_id, 5, 50)) == (0, 1, 0)


# -- while it waits ----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["pause", "quarantine", "delete"])
def test_what_waits_outlasts_a_parking_but_not_a_deletion(
    ledger: Ledger, missed: str, verb: str
) -> None:
    found = backfill(ledger, missed, 5, 65)
    if verb == "quarantine":
        ledger.run(quarantine, missed, now=ledger.now, error="bad", ids=ledger.ids, node="here")
    else:
        ledger.set_status(missed, verb)
    assert ledger.claim().claims == ()
    ledger.check_accounts()
    left = ledger.run(find_backfill, found.id)
    if verb == "delete":
        assert (left.fates, left.done) == ({Fate.SKIPPED: 5}, 1.0)
        return
    assert (left.fates, left.done) == ({Fate.PENDING: 5}, 0.0)
    ledger.set_status(missed, "resume" if verb == "pause" else "release")
    assert run_all(ledger) == [10, 20, 30, 40, 50]
    ledger.check_accounts()


def test_what_waits_overlaps_nothing(ledger: Ledger, missed: str) -> None:
    backfill(ledger, missed, 5, 65)
    ledger.run(
        ExecutionRow.update(ready_at=ledger.now + 900 * US)
        .where(ExecutionRow.ended_at.is_null())
        .execute
    )
    ledger.clock.advance(5.0)
    (claim,) = ledger.claim().claims
    assert claim.due == ledger.now


def test_a_claim_that_was_given_back_still_belongs_to_its_backfill(
    ledger: Ledger, missed: str
) -> None:
    found = backfill(ledger, missed, 5, 15)
    held = ledger.claim().claims
    ledger.run(ledger.here.claims.give_back, held, now=ledger.now)
    again = ledger.claim(node=ledger.there).claims
    assert [(claim.id, claim.attempt) for claim in again] == [(held[0].id, 1)]
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    (last,) = ledger.claim().claims
    assert (last.id, last.attempt) == (held[0].id, 2)
    ledger.end(last)
    assert ledger.run(find_backfill, found.id).fates == {Fate.SUCCEEDED: 1}
    ledger.check_accounts()


def test_cancelling_ends_what_waits_and_leaves_what_runs(ledger: Ledger, missed: str) -> None:
    found = backfill(ledger, missed, 5, 65)
    held = ledger.claim(limit=2).claims
    left = cancel(ledger, found.id, given_back=held[1:])
    assert (left.fates, left.done) == ({Fate.PENDING: 1, Fate.CANCELLED: 4}, 0.8)
    ledger.check_accounts()
    entry = ledger.run(list_entries, JournalQuery(event_id=missed)).items[0]
    assert (entry.kind, entry.author, entry.note) == ("backfill_cancelled", "ola", "enough")
    assert entry.details == {"backfill_id": found.id, "cancelled": 4}
    ledger.end(held[0])
    assert cancel(ledger, found.id).done == 1.0
    # What never began may be asked for again.
    assert counts(backfill(ledger, missed, 5, 65)) == (4, 2, 0)
    ledger.check_accounts()


def test_an_attempt_that_was_lost_is_not_forgotten_by_cancelling(
    ledger: Ledger, missed: str
) -> None:
    found = backfill(ledger, missed, 5, 15)
    (claim,) = ledger.claim(node=ledger.there).claims
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    assert cancel(ledger, found.id).fates == {Fate.CANCELLED: 1}
    execution = ledger.run(ledger.here.executions.get, claim.id)
    assert [attempt.outcome for attempt in execution.attempts] == [Fate.LOST]
    assert counts(backfill(ledger, missed, 5, 15)) == (0, 1, 0)


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"), [(20, 20), (20, 10), (20, 65.000001)], ids=["empty", "backwards", "ahead"]
)
def test_a_range_that_is_none_is_refused(
    ledger: Ledger, missed: str, start: float, end: float
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        backfill(ledger, missed, start, end)
    assert caught.value.details["path"] == "end"
    assert counts(backfill(ledger, missed, 20, 65)) == (4, 1, 0)


def test_a_quarantined_event_runs_nothing_and_a_deleted_one_is_not_there(
    ledger: Ledger, missed: str
) -> None:
    ledger.run(quarantine, missed, now=ledger.now, error="bad", ids=ledger.ids, node="here")
    with pytest.raises(TransitionError) as caught:
        backfill(ledger, missed, 5, 10)
    assert caught.value.details == {"verb": "backfill", "status": "quarantined"}
    ledger.set_status(missed, "delete")
    with pytest.raises(EventNotFound):
        backfill(ledger, missed, 5, 10)


def test_a_backfill_that_is_not_there_is_said_so(ledger: Ledger, missed: str) -> None:
    entry = ledger.run(list_entries, JournalQuery(event_id=missed)).items[0]
    for name in (entry.id, "nothing"):
        with pytest.raises(BackfillNotFound):
            ledger.run(find_backfill, name)


def test_an_entry_that_somebody_has_spoilt_is_refused(ledger: Ledger, missed: str) -> None:
    found = backfill(ledger, missed, 5, 15)
    ledger.run(JournalRow.update(details='{"start": 3}').where(JournalRow.id == found.id).execute)
    with pytest.raises(StorageRefused):
        ledger.run(find_backfill, found.id)
