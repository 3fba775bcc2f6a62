"""One instant accounted for: what the ledger says of it, as data and as sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pendulum
import pytest
from tests.storage.node import LEASE_US

from kalends.citing import at
from kalends.clock import US, from_us, to_us
from kalends.drafts import Changes
from kalends.errors import EventNotFound
from kalends.explanation import Explanation, Standing
from kalends.model import Fate, JournalKind, Reason
from kalends.storage.explanations import explain
from kalends.storage.models import ExecutionRow, GapRow, NodeRow
from kalends.storage.quarantine import quarantine
from kalends.storage.retention import prune
from kalends.triggers import cron, every, once, weekdays

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

START = 1_800_000_000 * US
"""2027-01-15 08:00 UTC, a Friday."""


@pytest.fixture(name="ask")
def ask_fixture(ledger: Ledger) -> Callable[[str, float], Explanation]:
    """Explains an instant, given in seconds from START."""

    def ask(event_id: str, seconds: float) -> Explanation:
        instant = START + round(seconds * US)
        found = ledger.run(explain, ledger.here.executions, event_id, instant, now=ledger.now)
        assert 2 <= len(found.sentences) <= 6, found.sentences
        for sentence in found.sentences:
            assert not sentence[0].islower() or sentence.startswith(found.event_name)
            assert sentence.endswith("."), found.sentences
            assert ".." not in sentence, found.sentences
            assert "None" not in sentence, found.sentences
        return found

    return ask


Ask = Callable[[str, float], Explanation]


def test_what_ran_says_when_how_late_and_how_it_ended(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10), name="steady")
    ledger.clock.advance(10.25)
    ledger.end(*ledger.claim().claims, took=2.0)
    found = ask(event_id, 10)
    assert (found.standing, found.fate, found.reason) == (Standing.RAN, Fate.SUCCEEDED, None)
    assert found.due
    assert found.node == "here"
    assert found.execution is not None
    assert found.sentences[:2] == (
        "steady was due at 2027-01-15T08:00:10Z.",
        "It began at 2027-01-15T08:00:10.250000Z, 0.25 seconds late, and succeeded after "
        "2 seconds.",
    )


def test_what_failed_says_with_which_error(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10)
    ledger.end(*ledger.claim().claims, fate=Fate.FAILED)
    found = ask(event_id, 10)
    assert found.fate is Fate.FAILED
    assert "Its error was Oops: no." in found.sentences


def test_what_needed_several_attempts_says_which_one_it_was(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10), retries=3, retry_delay=1.0, retry_jitter=0.0)
    ledger.clock.advance(10)
    ledger.end(*ledger.claim().claims, fate=Fate.FAILED)
    assert "It waits for attempt 2, not before 2027-01-15T08:00:11Z." in ask(event_id, 10).sentences
    ledger.clock.advance(1)
    ledger.end(*ledger.claim().claims, took=2.0)
    assert (
        "It began at 2027-01-15T08:00:10Z, on time, and succeeded after 2 seconds, in attempt 2."
        in (ask(event_id, 10).sentences)
    )


def test_what_is_claimed_or_runs_says_so(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10)
    claim = ledger.claim().claims[0]
    found = ask(event_id, 10)
    assert (found.standing, found.fate) == (Standing.PENDING, Fate.PENDING)
    assert "Node here has claimed it; it is not known to have begun." in found.sentences
    ledger.run(ledger.here.outcomes.mark_running, [(claim.id, 1, ledger.now)])
    found = ask(event_id, 10)
    assert (found.standing, found.fate) == (Standing.RAN, Fate.RUNNING)
    assert "It runs now, as attempt 1, on node here." in found.sentences


def test_an_overlap_names_the_policy_that_decided(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10)
    ledger.claim()
    ledger.clock.advance(10)
    ledger.claim()
    found = ask(event_id, 20)
    assert (found.standing, found.reason) == (Standing.SKIPPED, Reason.OVERLAP)
    assert found.policies == {"overlap": "skip"}
    assert "overlap='skip'" in found.sentences[1]
    assert (found.decided_at, found.node) == (from_us(ledger.now), "here")


def test_an_instant_coalesced_names_the_one_that_ran_for_it(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(45)
    ledger.end(*ledger.claim().claims)
    found = ask(event_id, 20)
    assert found.reason is Reason.COALESCED
    assert found.gap is not None
    assert found.gap.into == from_us(START + 40 * US)
    assert "the instant 2027-01-15T08:00:40Z ran for it (catch_up='latest')" in str(found)
    assert "2027-01-15T08:00:30Z, 3 in all." in str(found)


def test_an_instant_missed_names_the_window(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10), catch_up_window=60.0)
    ledger.clock.advance(200)
    ledger.claim()
    found = ask(event_id, 20)
    assert found.reason is Reason.MISSED
    assert found.policies["catch_up_window"] == 60.0
    assert "the window of 60 seconds" in str(found)


def test_the_policies_are_those_of_the_decision_not_those_of_today(
    ledger: Ledger, ask: Ask
) -> None:
    event_id = ledger.add(every(seconds=10), catch_up_window=60.0)
    ledger.clock.advance(200)
    ledger.claim()
    ledger.clock.advance(1)
    ledger.run(
        ledger.here.events.update,
        event_id,
        Changes(policies={"catch_up_window": 5.0}),
        now=ledger.now,
        version=None,
        author="ada",
        given_back=(),
    )
    assert ask(event_id, 20).policies["catch_up_window"] == 60.0


def test_a_pause_names_who_and_why(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(5)
    ledger.set_status(event_id, "pause", note="disk swap", author="ada")
    assert ask(event_id, 10).standing is Standing.PARKED
    assert "The event is paused (disk swap)." in ask(event_id, 10).sentences
    ledger.clock.advance(30)
    ledger.set_status(event_id, "resume", author="bob")
    found = ask(event_id, 10)
    assert (found.standing, found.reason) == (Standing.SKIPPED, Reason.PAUSED)
    assert [entry.kind.value for entry in found.journal] == ["event_paused", "event_resumed"]
    assert "At 2027-01-15T08:00:05Z the event was paused by ada: disk swap." in found.sentences
    assert "At 2027-01-15T08:00:35Z the event was resumed by bob." in found.sentences


def test_a_quarantine_shows_the_evidence(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(5)
    ledger.run(
        quarantine, event_id, now=ledger.now, error="KeyError: x", ids=ledger.ids, node="here"
    )
    assert ask(event_id, 10).standing is Standing.PARKED
    ledger.clock.advance(10)
    ledger.set_status(event_id, "release")
    found = ask(event_id, 10)
    assert found.reason is Reason.QUARANTINED
    assert "KeyError: x" in str(found)


def test_a_changed_rule_and_a_deletion_are_told(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(25)
    changes = Changes(trigger=every(seconds=7))
    ledger.run(
        ledger.here.events.update, event_id, changes, now=ledger.now, version=None, author="ada",
        given_back=(),
    )  # fmt: skip
    found = ask(event_id, 20)
    assert found.reason is Reason.SUPERSEDED
    assert found.rule.startswith("every(seconds=10")
    assert "the event was changed by ada" in str(found)
    ledger.clock.advance(10)
    ledger.set_status(event_id, "delete", author="eve")
    found = ask(event_id, 32)
    assert (found.reason, found.event_status) == (Reason.DELETED, "deleted")
    assert "the event was deleted by eve" in str(found)
    after = ask(event_id, 1000)
    assert (after.standing, after.fate) == (Standing.DELETED, None)


def test_an_instant_that_was_never_due_names_the_field_and_its_neighbours(
    ledger: Ledger, ask: Ask
) -> None:
    event_id = ledger.add(cron("30 9 * * 1-5", tz="Europe/Oslo"))
    found = ask(event_id, 17 * 60)
    assert (found.standing, found.fate) == (Standing.NOT_DUE, None)
    assert {cause.field for cause in found.why.causes} >= {"minute"}
    assert found.why.after == pendulum.datetime(2027, 1, 15, 8, 30)
    assert "2027-01-15T08:30:00Z" in found.sentences[-1]


def test_an_excluded_day_is_named(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(cron("0 9 * * *") - weekdays("sat"))
    found = ask(event_id, 25 * 3600)  # Saturday, 09:00
    assert found.standing is Standing.NOT_DUE
    assert "2027-01-16" in str(found)


def test_a_time_that_daylight_saving_moved_says_from_where(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(cron("30 2 * * *", tz="Europe/Oslo"))
    instant = to_us(pendulum.datetime(2027, 3, 28, 1))
    found = ask(event_id, (instant - START) / US)
    assert found.standing is Standing.EXPECTED
    assert "02:30" in found.sentences[1]


def test_the_future_says_when_and_what_would_decide(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(hours=1))
    found = ask(event_id, 7200)
    assert (found.standing, found.policies["overlap"]) == (Standing.EXPECTED, "skip")
    assert "That is in 2 hours." in found.sentences
    assert any("No process runs" in sentence for sentence in found.sentences)
    ledger.run(ledger.here.leases.register, now=ledger.now)
    assert "No process runs" not in str(ask(event_id, 7200))


def test_what_is_due_and_not_looked_at_yet_is_waiting(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(15)
    found = ask(event_id, 10)
    assert found.standing is Standing.WAITING
    assert "It has no fate yet, 5 seconds later." in found.sentences


def test_before_the_account_there_is_nothing_to_tell(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    found = ask(event_id, -20)
    assert found.standing is Standing.UNACCOUNTED
    assert "The event did not exist then: it was made at 2027-01-15T08:00:00Z." in found.sentences


def test_what_retention_has_folded_and_what_it_has_removed(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    for _ in range(3):
        ledger.clock.advance(10)
        ledger.end(*ledger.claim().claims)

    def keep(gaps: int | None) -> None:
        ledger.run(
            prune, ledger.dialect, ledger.ids, now=ledger.now, retain_age_us=0, retain_count=None,
            retain_gaps_us=gaps, limit=100,
        )  # fmt: skip

    ledger.clock.advance(1)
    keep(None)
    found = ask(event_id, 20)
    assert (found.standing, found.fate) == (Standing.FOLDED, Fate.SUCCEEDED)
    assert "It succeeded; retention has removed the details." in found.sentences
    keep(0)
    gone = ask(event_id, 20)
    assert gone.standing is Standing.UNACCOUNTED
    assert "removed by retention" in str(gone)


def test_a_manual_execution_is_told_as_what_it_is(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10), name="steady")
    ledger.clock.advance(3)
    claim = ledger.trigger(event_id, author="ada")
    ledger.end(claim)
    found = ask(event_id, 3)
    assert not found.due
    assert found.sentences[0] == (
        "An execution of steady was asked for by ada at 2027-01-15T08:00:03Z, outside of its rule."
    )


def test_what_a_dead_process_lost_names_the_delivery(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10), delivery="at_most_once")
    ledger.run(ledger.there.leases.register, now=ledger.now)
    ledger.clock.advance(10)
    ledger.claim(node=ledger.there)
    ledger.clock.advance(100)
    ledger.run(ledger.here.leases.rescue, now=ledger.now)
    found = ask(event_id, 10)
    assert (found.fate, found.reason) == (Fate.LOST, Reason.PROCESS_DIED)
    assert "delivery='at_most_once'" in str(found)
    assert "a process was found dead" in str(found)


def die_together(ledger: Ledger, count: int) -> None:
    """So many processes that ``here`` finds dead now."""
    lost = {"place": "", "pid": 1, "started_at": 0, "lease_until": ledger.now - 60 * US}
    rows = [{"id": f"dead-{number}", **lost} for number in range(count)]
    ledger.run(lambda db: NodeRow.insert_many(rows).execute(db))
    assert len(ledger.run(ledger.here.leases.rescue, now=ledger.now).nodes) == count


@pytest.mark.parametrize(("count", "said"), [(3, "3"), (15, "at least 12")])
def test_several_that_were_found_dead_are_one_sentence(
    ledger: Ledger, ask: Ask, count: int, said: str
) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(19)
    die_together(ledger, count)
    ledger.end(*ledger.claim().claims)
    told = ask(event_id, 10).sentences
    assert [each for each in told if "dead" in each] == [
        f"At 2027-01-15T08:00:19Z {said} processes were found dead."
    ]


def test_what_happened_after_the_end_of_a_run_is_not_cited(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10)
    ledger.end(*ledger.claim().claims)
    ledger.clock.advance(5)
    die_together(ledger, 3)
    found = ask(event_id, 10)
    assert JournalKind.NODE_DIED in {entry.kind for entry in found.journal}
    assert "dead" not in str(found)


def test_what_a_process_holds_whose_lease_has_ended_says_so(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.run(ledger.there.leases.register, now=ledger.now)
    ended = from_us(ledger.now + LEASE_US)
    ledger.clock.advance(10)
    claim = ledger.claim(node=ledger.there).claims[0]
    assert ask(event_id, 10).lease_ended_at is None
    ledger.clock.advance(3600)
    found = ask(event_id, 10)
    assert found.lease_ended_at == ended
    words = f"; the lease of that node ended at {at(ended)}, and no other process has freed it yet."
    assert f"Node there had claimed it{words}" in found.sentences
    ledger.run(ledger.there.outcomes.mark_running, [(claim.id, 1, ledger.now)])
    told = ask(event_id, 10).sentences
    assert f"Node there had claimed it and had begun attempt 1{words}" in told


def test_a_hole_in_the_ledger_is_called_one(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10)
    ledger.claim()
    ledger.run(lambda db: ExecutionRow.delete().execute(db))
    assert ask(event_id, 10).standing is Standing.MISSING


def test_a_rule_that_has_ended_is_not_due_and_says_so(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(once(from_us(START + 10 * US)))
    ledger.clock.advance(10)
    ledger.end(*ledger.claim().claims)
    found = ask(event_id, 11)
    assert found.standing is Standing.NOT_DUE
    assert found.why.before == from_us(START + 10 * US)


def test_an_event_that_never_was_is_refused(ledger: Ledger) -> None:
    with pytest.raises(EventNotFound):
        ledger.run(explain, ledger.here.executions, ledger.ids(), START, now=ledger.now)


def test_a_gap_that_nobody_gave_a_reason_is_still_explained(ledger: Ledger, ask: Ask) -> None:
    event_id = ledger.add(every(seconds=10))
    ledger.clock.advance(10)
    ledger.claim()
    ledger.clock.advance(10)
    ledger.claim()
    ledger.run(lambda db: GapRow.update(reason="overlap").execute(db))
    assert ask(event_id, 20).standing is Standing.SKIPPED
