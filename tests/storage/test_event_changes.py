"""Changing events: versions, status transitions, and no instant that falls between two rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.errors import (
    ConflictError,
    EventNotFound,
    KalendsError,
    TransitionError,
    ValidationFailed,
    VersionConflict,
)
from kalends.model import EVENT_TRANSITIONS, Event, EventStatus, JournalKind
from kalends.queries import EventQuery, JournalQuery
from kalends.storage.event_queries import list_events
from kalends.storage.journal import list_entries
from kalends.storage.models import DefinitionRow, EventRow, ExecutionRow
from kalends.storage.quarantine import quarantine
from kalends.triggers import every, once
from kalends.work import Claim

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


def update(
    ledger: Ledger,
    event_id: str,
    *,
    version: int | None = None,
    given_back: Sequence[Claim] = (),
    **changes: Any,
) -> Event:
    return ledger.run(
        ledger.here.events.update,
        event_id,
        Changes(**changes),
        now=ledger.now,
        version=version,
        author="me",
        given_back=given_back,
    )


def kinds(ledger: Ledger, event_id: str) -> list[JournalKind]:
    lines = ledger.run(list_entries, JournalQuery(event_id=event_id)).items
    return [line.kind for line in reversed(lines)]


# -- update ------------------------------------------------------------------------------------


def test_an_update_changes_what_was_given_and_nothing_else(ledger: Ledger) -> None:
    before = ledger.create(ledger.definition(name="mine", note="old", tags=("a",)))[0]
    ledger.clock.advance(3.0)
    after = update(ledger, before.id, note=None, policies={"max_attempts": 9})
    assert (after.note, after.policies.max_attempts, after.version) == (None, 9, 2)
    assert (after.name, after.tags, after.next_due) == ("mine", ("a",), before.next_due)
    assert after.updated_at == from_us(ledger.now)
    line = ledger.run(list_entries, JournalQuery(event_id=before.id)).items[0]
    assert line.details["changed"] == ["note", "policies"]
    assert line.details["before"]["note"] == "old"
    assert (line.author, line.details["version"]) == ("me", 2)


def test_an_update_of_another_version_is_refused(ledger: Ledger) -> None:
    event_id = ledger.add()
    update(ledger, event_id, version=1, note="a")
    with pytest.raises(VersionConflict) as caught:
        update(ledger, event_id, version=1, note="b")
    assert caught.value.details == {"expected": 1, "actual": 2}
    assert ledger.event(event_id).note == "a"


def test_tags_are_found_by_their_new_names_only(ledger: Ledger) -> None:
    event_id = ledger.add(tags=("old", "both"))
    update(ledger, event_id, tags=("both", "new"))
    found = {
        tag: len(ledger.run(list_events, EventQuery(tag=tag)).items)
        for tag in ("old", "both", "new")
    }
    assert found == {"old": 0, "both": 1, "new": 1}


def test_a_new_name_that_is_taken_is_refused(ledger: Ledger) -> None:
    ledger.add(name="taken")
    event_id = ledger.add(name="mine")
    with pytest.raises(ConflictError) as caught:
        update(ledger, event_id, name="taken")
    assert caught.value.details["name"] == "taken"
    assert update(ledger, event_id, name="free").name == "free"


def test_deleted_and_unknown_events_cannot_be_updated(ledger: Ledger) -> None:
    event_id = ledger.add()
    ledger.set_status(event_id, "delete")
    for name in (event_id, "nothing"):
        with pytest.raises(EventNotFound):
            update(ledger, name, note="x")


def test_a_new_rule_closes_the_account_of_the_old_one(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(35.0)
    event = update(ledger, event_id, trigger=every(seconds=7))
    assert ledger.gaps(event_id) == [(10, 30, 3, "skipped", "superseded")]
    assert event.next_due == from_us(ledger.now + 7 * US)
    rules = ledger.rows(DefinitionRow.select(DefinitionRow.version, DefinitionRow.until))
    assert rules == [(1, ledger.now)]
    assert ledger.check_accounts() == 3


def test_a_new_rule_begins_after_what_another_node_claimed_ahead(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="allow_all")
    ledger.clock.advance(9.0)
    held = ledger.claim(ahead=2.0, node=ledger.there).claims
    assert [claim.due - ledger.now for claim in held] == [US]
    event = update(ledger, event_id, trigger=every(seconds=1, anchor=from_us(ledger.now)))
    assert event.next_due == from_us(ledger.now + 2 * US), "the instant in a second has its fate"
    ledger.check_accounts()


def test_a_claim_ahead_of_the_old_rule_is_undone_when_this_node_gives_it_back(
    ledger: Ledger,
) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(9.0)
    held = ledger.claim(ahead=2.0).claims
    update(ledger, event_id, trigger=every(hours=1), given_back=held)
    assert ledger.fates(event_id) == []
    assert ledger.check_accounts() == 0


def test_a_new_once_that_has_passed_runs_late(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(25.0)
    due = ledger.now - US
    assert update(ledger, event_id, trigger=once(from_us(due))).next_due == from_us(due)
    assert [claim.due for claim in ledger.claim().claims] == [due]
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "superseded")]
    ledger.check_accounts()


def test_a_new_once_within_what_the_ledger_tells_already_is_refused(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(25.0)
    ledger.end(*ledger.claim().claims)
    with pytest.raises(ValidationFailed):
        update(ledger, event_id, trigger=once(from_us(ledger.now - 20 * US)))
    ledger.check_accounts()


def test_a_clock_that_stepped_back_does_not_let_two_rules_tell_of_one_instant(
    ledger: Ledger,
) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(25.0)
    ledger.end(*ledger.claim().claims)
    ledger.clock.jump(-20.0)
    event = update(ledger, event_id, trigger=every(seconds=1))
    assert event.next_due == from_us(ledger.now + 16 * US)
    ledger.check_accounts()


def test_a_completed_event_lives_again_with_a_new_rule(ledger: Ledger) -> None:
    event_id = ledger.add(once(from_us(ledger.now + US)))
    ledger.clock.advance(1.0)
    ledger.end(*ledger.claim().claims)
    assert ledger.event(event_id).status is EventStatus.COMPLETED
    assert update(ledger, event_id, trigger=every(seconds=5)).status is EventStatus.ACTIVE
    ledger.check_accounts()


def test_the_last_instant_claimed_ahead_and_given_back_is_due_again(ledger: Ledger) -> None:
    event_id = ledger.add(once(from_us(ledger.now + US)))
    held = ledger.claim(ahead=2.0).claims
    assert ledger.event(event_id).status is EventStatus.COMPLETED
    event = update(ledger, event_id, note="x", given_back=held)
    assert (event.status, event.next_due) == (EventStatus.ACTIVE, from_us(ledger.now + US))
    ledger.check_accounts()


def test_an_unreadable_rule_can_be_replaced(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.run(EventRow.update(trigger="?").where(EventRow.id == event_id).execute)
    ledger.clock.advance(30.0)
    ledger.claim()
    assert ledger.event(event_id).status is EventStatus.QUARANTINED
    with pytest.raises(ValidationFailed):
        ledger.set_status(event_id, "release")
    event = update(ledger, event_id, trigger=every(seconds=10))
    assert event.status is EventStatus.ACTIVE
    assert event.accounted_from == from_us(ledger.now + 1), "nobody knows what was due before"
    ledger.check_accounts()


# -- status ------------------------------------------------------------------------------------


def test_a_pause_says_who_and_why_and_its_instants_are_skipped_as_paused(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    paused = ledger.set_status(event_id, "pause", note="disk swap", author="me")
    assert (paused.status, paused.note, paused.version) == (EventStatus.PAUSED, "disk swap", 2)
    ledger.clock.advance(35.0)
    assert ledger.claim().claims == ()
    resumed = ledger.set_status(event_id, "resume")
    assert (resumed.status, resumed.note) == (EventStatus.ACTIVE, None)
    assert ledger.gaps(event_id) == [(10, 30, 3, "skipped", "paused")]
    assert resumed.next_due == from_us(ledger.now + 5 * US)
    lines = ledger.run(list_entries, JournalQuery(event_id=event_id)).items
    assert [(line.kind, line.author, line.note) for line in lines[:2]] == [
        (JournalKind.EVENT_RESUMED, None, None),
        (JournalKind.EVENT_PAUSED, "me", "disk swap"),
    ]


def test_a_pause_and_resume_before_anything_is_due_leave_no_gap(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.set_status(event_id, "pause")
    ledger.set_status(event_id, "resume")
    assert ledger.gaps(event_id) == []
    assert ledger.event(event_id).next_due == from_us(ledger.now + 10 * US)


def test_a_resume_does_not_repeat_what_another_node_claimed_ahead(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(9.0)
    ledger.claim(ahead=2.0, node=ledger.there)
    ledger.set_status(event_id, "pause")
    resumed = ledger.set_status(event_id, "resume")
    assert resumed.next_due == from_us(ledger.now + 11 * US)
    ledger.clock.advance(1.0)
    ledger.claim()
    ledger.check_accounts()


def test_a_rule_that_ended_during_a_pause_completes_on_resuming(ledger: Ledger) -> None:
    event_id = ledger.add(once(from_us(ledger.now + US)))
    ledger.set_status(event_id, "pause")
    ledger.clock.advance(5.0)
    assert ledger.set_status(event_id, "resume").status is EventStatus.COMPLETED
    assert ledger.gaps(event_id) == [(1, 1, 1, "skipped", "paused")]


def test_claims_given_back_at_a_pause_become_paused(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    held = ledger.claim().claims
    ledger.set_status(event_id, "pause", given_back=held)
    assert ledger.fates(event_id) == []
    ledger.clock.advance(15.0)
    ledger.set_status(event_id, "resume")
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "paused")]
    ledger.check_accounts()


def test_a_manual_claim_given_back_at_a_change_stays_open_for_the_next_claim(
    ledger: Ledger,
) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(3.0)
    ledger.set_status(event_id, "pause")
    manual = ledger.trigger(event_id)
    ledger.set_status(event_id, "resume", given_back=[manual])
    again = ledger.claim().claims
    assert [(claim.id, claim.manual, claim.attempt) for claim in again] == [(manual.id, True, 1)]


def test_release_skips_what_was_due_in_quarantine(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.run(quarantine, event_id, now=ledger.now, error="bad", ids=ledger.ids, node="here")
    ledger.clock.advance(25.0)
    assert ledger.set_status(event_id, "release").status is EventStatus.ACTIVE
    assert ledger.gaps(event_id) == [(10, 20, 2, "skipped", "quarantined")]
    assert kinds(ledger, event_id)[1:] == [
        JournalKind.EVENT_QUARANTINED,
        JournalKind.EVENT_RELEASED,
    ]


@pytest.mark.parametrize(("before", "reason"), [("", "deleted"), ("pause", "paused")])
def test_deleting_closes_the_account_and_keeps_the_history(
    ledger: Ledger, before: str, reason: str
) -> None:
    event_id = ledger.add(every(seconds=10), tags=("a",))
    ledger.clock.advance(10.0)
    ledger.end(*ledger.claim().claims)
    if before:
        ledger.set_status(event_id, before)
    ledger.clock.advance(25.0)
    ledger.set_status(event_id, "delete")
    assert ledger.fates(event_id) == [(10, "succeeded", None)]
    assert ledger.gaps(event_id) == [(20, 30, 2, "skipped", reason)]
    assert ledger.check_accounts() == 3
    assert ledger.run(list_events, EventQuery(tag="a")).items == ()


def test_deleting_ends_what_waits_for_another_attempt(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10.0)
    ledger.claim(node=ledger.there)
    ledger.run(ledger.there.leases.leave, now=ledger.now, abandoned=1)
    ledger.set_status(event_id, "delete")
    assert ledger.fates(event_id) == [(10, "lost", "process_died")]
    assert ledger.claim().claims == ()


def test_an_event_with_an_unreadable_rule_can_be_deleted(ledger: Ledger) -> None:
    event_id = ledger.add()
    ledger.run(EventRow.update(trigger="?").where(EventRow.id == event_id).execute)
    ledger.clock.advance(30.0)
    assert ledger.set_status(event_id, "delete").status is EventStatus.DELETED


def test_claims_that_slipped_in_before_a_deletion_are_revoked(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(9.0)
    late = ledger.claim(ahead=5.0).claims
    ledger.set_status(event_id, "delete")
    ledger.run(ledger.here.events.give_back, late, now=ledger.now)
    assert ledger.fates(event_id) == [(10, "skipped", "deleted")]
    assert ledger.check_accounts() == 1


def test_claims_that_slipped_in_before_a_pause_are_due_again(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(9.0)
    late = ledger.claim(ahead=5.0).claims
    ledger.set_status(event_id, "pause")
    ledger.run(ledger.here.events.give_back, late, now=ledger.now)
    assert ledger.event(event_id).next_due == from_us(ledger.now + US)
    assert ledger.rows(ExecutionRow.select(ExecutionRow.id)) == []
    ledger.clock.advance(2.0)
    ledger.set_status(event_id, "resume")
    ledger.check_accounts()


@pytest.mark.parametrize("status", list(EventStatus))
@pytest.mark.parametrize("verb", ["pause", "resume", "release", "delete"])
def test_only_the_transitions_of_the_table_are_carried_out(
    ledger: Ledger, verb: str, status: EventStatus
) -> None:
    event_id = ledger.add()
    ledger.run(EventRow.update(status=status.value).where(EventRow.id == event_id).execute)
    after = EVENT_TRANSITIONS[verb].get(status)
    if after is not None:
        assert ledger.set_status(event_id, verb).status is after
        return
    with pytest.raises(KalendsError) as caught:
        ledger.set_status(event_id, verb)
    if status is EventStatus.DELETED:
        assert isinstance(caught.value, EventNotFound)
    else:
        assert isinstance(caught.value, TransitionError)
        assert caught.value.details == {"verb": verb, "status": status.value}
    row = ledger.rows(EventRow.select(EventRow.status, EventRow.version))
    assert row == [(status.value, 1)]


def test_policies_that_cannot_hold_together_are_refused_whichever_comes_first(
    ledger: Ledger,
) -> None:
    before = ledger.event(ledger.add(retries=2))
    with pytest.raises(ValidationFailed, match="at_most_once allows no further attempt"):
        update(ledger, before.id, policies={"delivery": "at_most_once"})
    after = update(ledger, before.id, policies={"delivery": "at_most_once", "retries": 0})
    assert after.policies.delivery == "at_most_once"
    with pytest.raises(ValidationFailed, match="at_most_once allows no further attempt"):
        update(ledger, before.id, policies={"retries": 1})
    assert ledger.event(before.id) == after
