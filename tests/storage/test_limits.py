"""Named limits and priority by example: who gets a place, who stays due, and what costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.model import EventStatus, Fate, JournalKind
from kalends.queries import JournalQuery
from kalends.storage.journal import list_entries
from kalends.storage.limits import use_of
from kalends.storage.models import EventRow, ExecutionRow
from kalends.triggers import every
from kalends.work import Claim

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger


@pytest.fixture
def two(ledger: Ledger) -> Ledger:
    """A ledger whose nodes know a limit of two."""
    for node in (ledger.here, ledger.there):
        node.limit({"two": 2})
    return ledger


def limited(ledger: Ledger, name: str | None = None, **policies: Any) -> str:
    return ledger.add(every(seconds=10), name=name, concurrency_limit="two", **policies)


def names(claims: tuple[Claim, ...]) -> list[str]:
    return [claim.event_name for claim in claims]


def test_no_more_than_its_size_are_claimed_and_the_others_stay_due(two: Ledger) -> None:
    ids = [limited(two, f"e{n}") for n in range(4)]
    two.clock.advance(10.0)
    found = two.claim()
    assert (names(found.claims), found.more, found.held_up) == (["e0", "e1"], False, True)
    assert two.event(ids[2]).next_due == from_us(two.now)
    assert two.claim().claims == ()
    two.end(found.claims[0])
    assert names(two.claim().claims) == ["e2"]
    two.check_accounts()


def test_all_nodes_share_a_limit(two: Ledger) -> None:
    for n in range(4):
        limited(two, f"e{n}")
    two.clock.advance(10.0)
    mine = two.claim(limit=1).claims
    theirs = two.claim(node=two.there).claims
    assert (len(mine), len(theirs)) == (1, 1)
    assert two.claim(node=two.there).claims == ()


def test_what_has_ended_and_is_not_recorded_yet_holds_no_place(two: Ledger) -> None:
    for n in range(3):
        limited(two, f"e{n}")
    two.clock.advance(10.0)
    held = two.claim().claims
    assert names(two.claim(settled=[two.outcome(held[0])]).claims) == ["e2"]


def test_higher_priority_goes_first_then_what_is_due_longest(two: Ledger) -> None:
    limited(two, "low", priority=-1)
    two.clock.advance(1.0)
    limited(two, "late")
    two.clock.advance(1.0)
    limited(two, "later")
    limited(two, "high", priority=100)
    two.clock.advance(20.0)
    order = []
    while claims := two.claim().claims:
        order += names(claims)
        assert {claim.priority for claim in claims} <= {-1, 0, 100}
        two.end(*claims)
    assert order == ["high", "late", "later", "low"]


def test_an_event_with_a_limit_is_not_claimed_ahead(two: Ledger) -> None:
    limited(two)
    found = two.claim(ahead=20.0)
    assert (found.claims, found.blocked_until) == ((), two.now + 10 * US)
    two.clock.advance(10.0)
    assert len(two.claim(ahead=20.0).claims) == 1


def test_catch_up_decides_when_there_is_room_about_all_that_came_meanwhile(two: Ledger) -> None:
    busy = [limited(two, f"busy-{n}", priority=1) for n in range(2)]
    late = limited(two)
    two.clock.advance(10.0)
    held = two.claim().claims
    for event_id in busy:
        two.set_status(event_id, "pause")
    two.clock.advance(25.0)
    assert two.claim().claims == ()
    two.end(*held)
    assert [claim.due for claim in two.claim().claims] == [two.now - 5 * US]
    assert two.gaps(late) == [(10, 20, 2, "skipped", "coalesced")]


def test_an_instant_that_overlaps_its_own_event_is_decided_on_without_room(two: Ledger) -> None:
    skips = limited(two, overlap="skip")
    queues = limited(two, overlap="buffer_one")
    two.clock.advance(10.0)
    assert len(two.claim().claims) == 2
    two.clock.advance(10.0)
    assert two.claim().claims == ()
    assert two.gaps(skips) == [(20, 20, 1, "skipped", "overlap")]
    assert two.fates(queues) == [(10, "pending", None), (20, "pending", None)]


def test_what_terminates_its_own_event_takes_the_place_that_is_freed(two: Ledger) -> None:
    event_id = limited(two, overlap="terminate_other")
    limited(two, priority=1)
    two.clock.advance(10.0)
    assert len(two.claim().claims) == 2
    two.clock.advance(10.0)
    found = two.claim()
    assert [claim.event_id for claim in found.claims] == [event_id]
    assert [off.event_id for off in found.terminated] == [event_id]


def test_a_place_that_was_free_already_is_not_freed_a_second_time(two: Ledger) -> None:
    event_id = limited(two, overlap="terminate_other", retries=1, priority=1)
    for n in range(3):
        limited(two, f"e{n}")
    two.clock.advance(10.0)
    first, _ = two.claim().claims
    assert first.event_id == event_id
    two.clock.advance(10.0)
    # It may be tried again, so it is terminated; but it holds no place any more.
    found = two.claim(settled=[two.outcome(first, Fate.FAILED)])
    assert [off.execution_id for off in found.terminated] == [first.id]
    assert [claim.event_id for claim in found.claims] == [event_id]


def test_what_catch_up_wants_to_run_beyond_the_room_waits(two: Ledger) -> None:
    serial = limited(two, catch_up="all")
    two.clock.advance(30.0)
    assert [claim.due for claim in two.claim().claims] == [two.now - 20 * US]
    assert two.fates(serial) == [(second, "pending", None) for second in (10, 20, 30)]
    beside = limited(two, catch_up="all", overlap="allow_all", priority=1)
    two.clock.advance(40.0)
    found = two.claim()
    assert [claim.event_id for claim in found.claims] == [beside]
    assert [fate for _, fate, _ in two.fates(beside)] == ["pending"] * 4
    two.end(*found.claims)
    again = two.claim().claims
    assert [(claim.event_id, claim.due) for claim in again] == [(beside, two.now - 20 * US)]


def test_what_waits_under_a_full_limit_stays_waiting(two: Ledger) -> None:
    held = [limited(two, f"e{n}") for n in range(2)]
    third = limited(two, catch_up="all")
    two.clock.advance(10.0)
    claims = two.claim().claims
    two.run(two.there.leases.register, now=two.now)
    two.clock.advance(10.0)
    assert {claim.event_id for claim in claims} == set(held)
    assert two.claim(node=two.there).claims == ()
    assert two.event(third).next_due == from_us(two.now - 10 * US)


def test_full_limits_do_not_fill_the_batch_of_others(two: Ledger) -> None:
    for _ in range(30):
        limited(two)
    two.clock.advance(10.0)
    assert len(two.claim(limit=5).claims) == 2
    free = [two.add(every(seconds=10)) for _ in range(5)]
    two.clock.advance(10.0)
    assert {claim.event_id for claim in two.claim(limit=5).claims} == {*free}


# -- what a node does not know -----------------------------------------------------------------


def test_an_event_of_a_limit_that_the_settings_lack_is_quarantined(ledger: Ledger) -> None:
    ledger.here.limit({"twos": 2})
    due = limited(ledger)
    ledger.clock.advance(10.0)
    assert ledger.claim().claims == ()
    assert ledger.event(due).status is EventStatus.QUARANTINED
    line = ledger.run(list_entries, JournalQuery(event_id=due)).items[0]
    assert line.kind is JournalKind.EVENT_QUARANTINED
    assert "no concurrency limit 'two' (did you mean 'twos'?)" in line.details["error"]


def test_what_waits_of_such_an_event_is_not_taken_either(two: Ledger) -> None:
    event_id = limited(two)
    two.clock.advance(10.0)
    two.claim(node=two.there)
    two.run(two.there.leases.leave, now=two.now, abandoned=1)
    two.here.limit(None)
    assert two.claim().claims == ()
    assert two.event(event_id).status is EventStatus.QUARANTINED


# -- what is written ---------------------------------------------------------------------------


def test_executions_and_events_carry_what_the_queries_need(two: Ledger) -> None:
    event_id = limited(two, priority=7, overlap="buffer_all")
    two.clock.advance(10.0)
    two.claim()
    columns = (EventRow.limit_name, EventRow.priority, EventRow.serial)
    assert two.rows(EventRow.select(*columns)) == [("two", 7, 1)]
    written = ExecutionRow.select(ExecutionRow.limit_name, ExecutionRow.priority)
    assert two.rows(written) == [("two", 7)]
    changes = Changes(policies={"concurrency_limit": None, "priority": -2, "overlap": "allow_all"})
    two.run(
        two.here.events.update, event_id, changes, now=two.now, version=None, author=None,
        given_back=(),
    )  # fmt: skip
    assert two.rows(EventRow.select(*columns)) == [(None, -2, 0)]


def test_what_waits_is_claimed_under_the_policies_of_then(two: Ledger) -> None:
    event_id = limited(two, overlap="buffer_one")
    two.clock.advance(10.0)
    first = two.claim().claims
    two.clock.advance(10.0)
    assert two.claim().claims == ()
    changes = Changes(policies={"concurrency_limit": None, "priority": 5})
    two.run(
        two.here.events.update, event_id, changes, now=two.now, version=None, author=None,
        given_back=(),
    )  # fmt: skip
    two.end(*first)
    (claim,) = two.claim().claims
    assert claim.priority == 5
    row = two.run(two.here.executions.get, claim.id)
    assert (row.priority, row.limit_name) == (5, None)


def test_who_holds_the_places_of_a_limit_is_told_longest_first(two: Ledger) -> None:
    for n in range(3):
        limited(two, f"e{n}")
    two.add(every(seconds=10), name="free")
    two.clock.advance(10.0)
    first = two.claim(limit=1).claims
    two.clock.advance(1.0)
    held = first + two.claim().claims
    two.end(next(claim for claim in held if claim.event_name == "free"))
    use = two.run(use_of, "two", 2)
    assert (use.name, use.places, use.held) == ("two", 2, 2)
    assert [holder.event_name for holder in use.holders] == ["e0", "e1"]
    assert two.run(use_of, "three", None).held == 0
