"""The dead-man's check: each cause made by hand, and nothing told of what goes well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kalends.clock import US, from_us, to_us
from kalends.outlook import Overdue, OverdueCause
from kalends.storage.foretold import move_next, skip_next
from kalends.storage.models import NodeRow
from kalends.storage.overdue import find_overdue
from kalends.triggers import every, once

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

C = OverdueCause


def overdue(ledger: Ledger, grace: float = 5.0, limit: int = 50) -> tuple[Overdue, ...]:
    return ledger.run(find_overdue, now=ledger.now, grace=round(grace * US), limit=limit)


@pytest.fixture
def alive(ledger: Ledger) -> Ledger:
    """A ledger whose node ``here`` holds a lease of thirty seconds."""
    ledger.run(ledger.here.leases.register, now=ledger.now)
    return ledger


def test_what_goes_well_is_not_overdue(alive: Ledger) -> None:
    alive.add(every(seconds=10))
    alive.clock.advance(10)
    claims = alive.claim().claims
    assert overdue(alive, 0.0) == ()
    alive.run(alive.here.outcomes.mark_running, [(c.id, 1, alive.now) for c in claims])
    alive.clock.advance(9)
    assert overdue(alive) == ()
    alive.end(*claims)
    assert overdue(alive, 0.0) == ()


def test_an_instant_that_nobody_claims_is_overdue_after_the_grace(alive: Ledger) -> None:
    event_id = alive.add(every(seconds=10), name="tick")
    due = alive.now + 10 * US
    alive.clock.advance(15)
    assert overdue(alive, 5.0) == ()
    (found,) = overdue(alive, 4.9)
    assert found == Overdue(
        event_id=event_id,
        name="tick",
        job="work",
        due=from_us(due),
        since=from_us(due),
        cause=C.NOT_CLAIMED,
        execution_id=None,
        node=None,
    )


def test_where_no_process_lives_that_is_the_cause(ledger: Ledger) -> None:
    ledger.add(every(seconds=10))
    ledger.clock.advance(60)
    assert [item.cause for item in overdue(ledger)] == [C.NO_NODE]
    ledger.run(ledger.here.leases.register, now=ledger.now)
    assert [item.cause for item in overdue(ledger)] == [C.NOT_CLAIMED]
    ledger.clock.advance(31)
    assert [item.cause for item in overdue(ledger)] == [C.NO_NODE]


def test_a_parked_event_is_not_overdue(alive: Ledger) -> None:
    for verb in ("pause", "delete"):
        alive.set_status(alive.add(every(seconds=10)), verb)
    alive.clock.advance(60)
    assert overdue(alive) == ()


def test_an_execution_that_its_holder_does_not_begin_is_overdue(alive: Ledger) -> None:
    alive.add(once(from_us(alive.now + 10 * US)))
    alive.clock.advance(10)
    (claim,) = alive.claim().claims
    alive.clock.advance(6)
    (found,) = overdue(alive)
    assert (found.cause, found.execution_id, found.node) == (C.NOT_BEGUN, claim.id, "here")
    assert to_us(found.since) == claim.due


def test_a_jitter_is_waited_for(alive: Ledger) -> None:
    alive.add(once(from_us(alive.now + 10 * US)).jitter(20))
    alive.clock.advance(10)
    (claim,) = alive.claim().claims
    assert 0.5 * US < claim.delay_us < 15 * US
    alive.clock.advance(claim.delay_us / US + 5)
    assert overdue(alive) == ()
    alive.clock.advance(0.1)
    (found,) = overdue(alive)
    assert to_us(found.since) == claim.due + claim.delay_us
    assert to_us(found.due) == claim.due


def test_what_a_dead_process_holds_is_overdue_since_its_lease(alive: Ledger) -> None:
    lease = alive.now + 30 * US
    alive.add(once(from_us(alive.now + 10 * US)))
    alive.clock.advance(10)
    (claim,) = alive.claim().claims
    alive.run(alive.here.outcomes.mark_running, [(claim.id, 1, alive.now)])
    alive.clock.advance(24)
    assert overdue(alive) == ()
    alive.clock.advance(2)
    (found,) = overdue(alive)
    assert (found.cause, to_us(found.since), found.node) == (C.NODE_DIED, lease, "here")
    alive.run(lambda db: NodeRow.delete().execute(db))
    (found,) = overdue(alive)
    assert (found.cause, to_us(found.since)) == (C.NODE_DIED, claim.due)


def test_what_a_dead_process_left_is_nobodys_until_it_is_claimed(alive: Ledger) -> None:
    alive.add(once(from_us(alive.now + 10 * US)))
    alive.clock.advance(10)
    (claim,) = alive.claim(node=alive.there).claims
    alive.clock.advance(10)
    alive.run(alive.there.leases.leave, now=alive.now, abandoned=1)
    (found,) = overdue(alive)
    assert (found.cause, found.execution_id, found.node) == (C.NOT_CLAIMED, claim.id, None)
    alive.claim()
    (found,) = overdue(alive)
    assert found.cause == C.NOT_BEGUN


def test_what_waits_for_a_paused_event_says_so(alive: Ledger) -> None:
    event_id = alive.add(every(seconds=10))
    alive.clock.advance(10)
    alive.claim(node=alive.there)
    alive.run(alive.there.leases.leave, now=alive.now, abandoned=1)
    alive.set_status(event_id, "pause")
    alive.clock.advance(10)
    assert [item.cause for item in overdue(alive)] == [C.PARKED]


def test_a_pause_that_is_over_and_that_nobody_has_lifted_is_told_of(alive: Ledger) -> None:
    event_id = alive.add(every(seconds=10), name="tick")
    due = alive.now + 10 * US
    end = alive.now + 15 * US
    alive.set_status(event_id, "pause", until=end)
    alive.clock.advance(20)
    assert overdue(alive, 5.0) == ()
    (found,) = overdue(alive, 4.9)
    assert found == Overdue(
        event_id=event_id,
        name="tick",
        job="work",
        due=from_us(due),
        since=from_us(end),
        cause=C.NOT_CLAIMED,
        execution_id=None,
        node=None,
    )
    alive.claim()
    assert overdue(alive, 0.0) == ()


def test_a_pause_that_ended_before_anything_was_due_delays_nothing(alive: Ledger) -> None:
    event_id = alive.add(every(seconds=100))
    due = alive.now + 100 * US
    alive.set_status(event_id, "pause", until=alive.now + 10 * US)
    alive.clock.advance(99)
    assert overdue(alive, 0.0) == ()
    alive.clock.advance(7)
    assert [item.since for item in overdue(alive)] == [from_us(due)]


def test_what_waits_for_a_pause_that_is_over_waits_for_whoever_lifts_it(alive: Ledger) -> None:
    event_id = alive.add(every(seconds=10))
    alive.clock.advance(10)
    alive.claim(node=alive.there)
    alive.run(alive.there.leases.leave, now=alive.now, abandoned=1)
    end = alive.now + 5 * US
    alive.set_status(event_id, "pause", until=end)
    alive.clock.advance(11)
    found = {item.execution_id is None: item for item in overdue(alive)}
    assert (found[False].cause, found[False].since) == (C.NOT_CLAIMED, from_us(end))


def test_what_was_moved_is_overdue_from_when_it_was_to_begin(alive: Ledger) -> None:
    stamp = alive.here.events.stamp(alive.now, None)
    one, two = alive.add(every(seconds=1000)), alive.add(every(seconds=10))
    alive.run(move_next, one, alive.now + 5 * US, stamp)
    alive.run(move_next, two, alive.now + 500 * US, stamp)
    alive.run(skip_next, two, 100, stamp)
    alive.clock.advance(20)
    (found,) = overdue(alive)
    assert (found.event_id, found.since) == (one, from_us(alive.now - 15 * US))


def test_the_longest_come_first_and_the_limit_holds(alive: Ledger) -> None:
    alive.add(once(from_us(alive.now + 2 * US)))
    alive.clock.advance(2)
    (claim,) = alive.claim().claims
    early, late = alive.add(every(seconds=1)), alive.add(every(seconds=3))
    alive.clock.advance(20)
    found = overdue(alive)
    assert [item.event_id for item in found] == [claim.event_id, early, late]
    assert [item.since for item in found] == sorted(item.since for item in found)
    assert overdue(alive, limit=2) == found[:2]
