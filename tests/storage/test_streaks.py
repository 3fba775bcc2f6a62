"""Failures in a row: counted from the ledger, and the pause that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kalends.clock import US
from kalends.model import EventStatus, Fate
from kalends.queries import JournalQuery
from kalends.retrying import Ask
from kalends.storage.journal import list_entries
from kalends.storage.models import ExecutionRow
from kalends.storage.retention import prune
from kalends.storage.streaks import failures_in_a_row
from kalends.triggers import every
from kalends.work import Claim

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.storage.conftest import Ledger

S, F, T, L, C = Fate.SUCCEEDED, Fate.FAILED, Fate.TIMED_OUT, Fate.LOST, Fate.CANCELLED


def live(ledger: Ledger, *fates: Fate) -> None:
    """One instant for each fate, ten seconds apart."""
    for fate in fates:
        ledger.clock.advance(10.0)
        (claim,) = ledger.claim().claims
        if fate is L:
            ledger.run(ledger.here.leases.leave, now=ledger.now, abandoned=1)
        else:
            ledger.record(ledger.outcome(claim, fate))


def fold(ledger: Ledger, keep: int) -> int:
    """Fold all but the newest ``keep`` executions of each event."""
    pruned = ledger.run(
        prune, ledger.dialect, ledger.ids, now=ledger.now, retain_age_us=None, retain_count=keep,
        retain_gaps_us=None, limit=1000,
    )  # fmt: skip
    return pruned.executions


def in_a_row(ledger: Ledger, event_id: str, since: int = 0, limit: int = 100) -> int:
    return ledger.run(failures_in_a_row, event_id, since, limit)


def pauses(ledger: Ledger) -> list[tuple[str | None, str | None, object]]:
    lines = ledger.run(list_entries, JournalQuery(kind="event_paused")).items
    return [(line.author, line.note, line.details) for line in reversed(lines)]


def test_an_event_is_paused_by_the_last_of_so_many_failures_in_a_row(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), pause_after_failures=3)
    live(ledger, F, F, S, F, F)
    assert ledger.event(event_id).status is EventStatus.ACTIVE
    ledger.clock.advance(10.0)
    (claim,) = ledger.claim().claims
    assert ledger.fail(claim).paused == (event_id,)
    event = ledger.event(event_id)
    assert (event.status, event.note) == (EventStatus.PAUSED, "paused after 3 failures in a row")
    assert event.version == 2
    assert pauses(ledger) == [("kalends", event.note, {"failures": 3, "execution_id": claim.id})]
    ledger.clock.advance(100.0)
    assert ledger.claim().claims == ()
    ledger.check_accounts()


def test_whatever_ends_badly_counts_and_what_was_called_off_does_not(ledger: Ledger) -> None:
    event_id = ledger.add(
        every(seconds=10), pause_after_failures=4, delivery="at_most_once", overlap="allow_all"
    )
    live(ledger, F, C, L, T, C)
    assert ledger.event(event_id).status is EventStatus.ACTIVE
    assert in_a_row(ledger, event_id) == 3
    live(ledger, L)
    assert ledger.event(event_id).status is EventStatus.PAUSED, "a process that died is the last"
    assert pauses(ledger)[0][1] == "paused after 4 failures in a row"


def test_a_rescue_tells_which_events_it_paused(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), pause_after_failures=1, delivery="at_most_once")
    ledger.run(ledger.there.leases.register, now=ledger.now)
    ledger.clock.advance(10.0)
    ledger.claim(node=ledger.there)
    ledger.clock.advance(3600.0)
    rescued = ledger.run(ledger.here.leases.rescue, now=ledger.now)
    assert (rescued.lost, rescued.paused) == (1, (event_id,))


def test_what_is_tried_again_has_not_failed_yet(ledger: Ledger) -> None:
    ledger.add(every(seconds=10), pause_after_failures=1, retries=1, retry_delay=1.0)
    ledger.clock.advance(10.0)
    (claim,) = ledger.claim().claims
    assert ledger.fail(claim).paused == ()
    ledger.clock.advance(1.0)
    (again,) = ledger.claim().claims
    assert ledger.fail(again, ask=Ask(True, 1)).paused == (), "it asked, and was heard"


def test_a_resumed_event_starts_over(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), pause_after_failures=2)
    live(ledger, F, F)
    ledger.set_status(event_id, "resume")
    live(ledger, F)
    assert ledger.event(event_id).status is EventStatus.ACTIVE
    live(ledger, F)
    assert ledger.event(event_id).status is EventStatus.PAUSED
    assert len(pauses(ledger)) == 2


def test_an_event_without_the_policy_is_never_paused(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, *[F] * 30)
    assert ledger.event(event_id).status is EventStatus.ACTIVE
    assert pauses(ledger) == []


def test_executions_are_counted_by_their_instants_whenever_they_ended(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="allow_all", pause_after_failures=2)
    held: list[Claim] = []
    for _ in range(3):
        ledger.clock.advance(10.0)
        held += ledger.claim().claims
    ledger.fail(held[2])
    ledger.end(held[1])
    assert ledger.fail(held[0]).paused == (), "a success lies between them"
    assert in_a_row(ledger, event_id) == 1


def test_a_success_in_the_same_batch_counts_in_its_place(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), overlap="allow_all", pause_after_failures=2)
    held: list[Claim] = []
    for _ in range(3):
        ledger.clock.advance(10.0)
        held += ledger.claim().claims
    fates = [F, S, F]
    outcomes = [ledger.outcome(claim, fate) for claim, fate in zip(held, fates, strict=True)]
    recorded = ledger.record(*outcomes)
    assert recorded.paused == ()
    assert in_a_row(ledger, event_id) == 1


# -- history that retention has folded ---------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
def test_folded_history_counts(ledger: Ledger, keep: int) -> None:
    event_id = ledger.add(every(seconds=10), pause_after_failures=5)
    for fate in (S, F, F, T, F):
        live(ledger, fate)
        fold(ledger, keep)
    assert in_a_row(ledger, event_id) == 4
    assert ledger.event(event_id).status is EventStatus.ACTIVE
    live(ledger, F)
    assert ledger.event(event_id).status is EventStatus.PAUSED


def test_folded_history_from_before_the_resumption_does_not_count(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10), pause_after_failures=3)
    live(ledger, F, F, F)
    fold(ledger, 0)
    ledger.set_status(event_id, "resume")
    live(ledger, F, F)
    assert ledger.event(event_id).status is EventStatus.ACTIVE
    fold(ledger, 0)
    live(ledger, F)
    assert ledger.event(event_id).status is EventStatus.PAUSED


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([S, F, T, C]), st.integers(0, 3)), max_size=12))
def test_a_row_of_failures_is_the_same_however_much_is_folded(
    make_ledger: Callable[[], Ledger], days: list[tuple[Fate, int]]
) -> None:
    ledger = make_ledger()
    event_id = ledger.add(every(seconds=10))
    expected = 0
    for fate, keep in days:
        live(ledger, fate)
        fold(ledger, keep)
        expected = 0 if fate is S else expected + (fate is not C)
        assert in_a_row(ledger, event_id) == expected
        assert in_a_row(ledger, event_id, limit=2) == min(expected, 2)
    count = ledger.rows(ExecutionRow.select(ExecutionRow.id))
    assert len(count) <= 12


def test_only_what_ended_since_the_resumption_counts(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, F, F, F)
    assert in_a_row(ledger, event_id, since=ledger.now - 20 * US) == 2
    assert in_a_row(ledger, event_id, since=ledger.now) == 0
