"""The way through a ledger: while it goes on, in bounded memory, and what is no violation."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from kalends.clock import US
from kalends.drafts import Changes
from kalends.errors import EventNotFound, ValidationFailed
from kalends.model import Fate, JournalKind
from kalends.storage.journal import write_entry
from kalends.storage.models import EventRow, ExecutionRow, GapRow, NodeRow
from kalends.storage.retention import prune
from kalends.storage.verify import line
from kalends.storage.verify.walk import Verifier
from kalends.triggers import cron, every
from kalends.verification import ViolationKind

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

K = ViolationKind


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a few rows, so that a small ledger has many."""
    monkeypatch.setattr(line, "ROWS", 3)
    monkeypatch.setattr(line, "EVENTS", 2)


def verifier(ledger: Ledger, **options: Any) -> Verifier:
    return Verifier(ledger.clock, **{"node": None, "lease": 30.0, "limit": 100, **options})


def run_through(ledger: Ledger, between: Callable[[], object]) -> list[str]:
    """Verify, with something else happening between any two slices; the violations in words."""
    work = verifier(ledger)
    while (found := ledger.run(work.step)) is None:
        between()
    return [item.words for item in found.violations]


def live(ledger: Ledger, seconds: float, node: Any = None) -> None:
    ledger.clock.advance(seconds)
    for some in (ledger.here, ledger.there):
        ledger.run(some.leases.renew, now=ledger.now)
    ledger.end(*ledger.claim(node=node).claims, node=node)


# -- while the ledger goes on ------------------------------------------------------------------


@pytest.mark.usefixtures("slices")
def test_what_runs_between_two_slices_is_no_violation(ledger: Ledger) -> None:
    for seconds in (1, 3, 10):
        ledger.add(every(seconds=seconds))
    for _ in range(10):
        live(ledger, 2)
    assert run_through(ledger, lambda: live(ledger, 1) if ledger.now % 7 else None) == []
    ledger.check_accounts()


@pytest.mark.usefixtures("slices")
def test_what_retention_folds_between_two_slices_is_no_violation(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.add(every(seconds=1))
    for _ in range(30):
        live(ledger, 1)
    ages = iter(range(30, 0, -1))

    def fold() -> None:
        age = next(ages, 1)
        ledger.run(
            prune, ledger.dialect, ledger.ids, now=ledger.now, retain_age_us=age * US,
            retain_count=None, retain_gaps_us=(age + 12) * US, limit=100,
        )  # fmt: skip

    assert run_through(ledger, fold) == []
    assert ledger.rows(GapRow.select(GapRow.count))
    ledger.check_accounts()


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize(("kept", "expected"), [(7, []), (100, ["lies over"])])
def test_a_gap_may_grow_over_the_end_of_a_slice_and_may_not_lie_over_others(
    ledger: Ledger, kept: int, expected: list[str]
) -> None:
    """Five of twelve executions are folded, or a gap is made up beside them."""
    event_id = ledger.add(every(seconds=1))
    for _ in range(12):
        live(ledger, 1)

    def fold() -> None:
        ledger.run(
            prune, ledger.dialect, ledger.ids, now=ledger.now, retain_age_us=None,
            retain_count=kept, retain_gaps_us=None, limit=100,
        )  # fmt: skip
        if expected and not ledger.gaps(event_id):
            start = ledger.now - 12 * US
            ledger.run(
                GapRow.insert(
                    id=ledger.ids(), event_id=event_id, first=start + US, last=start + 5 * US,
                    count=5, fate="skipped", reason="missed", version=1, recorded_at=0,
                ).execute
            )  # fmt: skip

    words = run_through(ledger, fold)
    assert [(first, last, count) for first, last, count, *_ in ledger.gaps(event_id)] == [(1, 5, 5)]
    assert [any(part in item for item in words) for part in expected] == [True] * len(expected)
    assert bool(words) == bool(expected)


@pytest.mark.usefixtures("slices")
def test_claims_that_are_given_back_between_two_slices_are_no_violation(ledger: Ledger) -> None:
    event_id = ledger.add(every(seconds=1), catch_up="all", overlap="allow_all")
    ledger.run(ledger.here.leases.register, now=ledger.now)
    ledger.clock.advance(10)
    claims = list(ledger.claim().claims)
    assert len(claims) == 10

    def give_back() -> None:
        last = [claims.pop() for _ in range(min(4, len(claims) - 2))]
        ledger.run(ledger.here.claims.give_back, last, now=ledger.now)

    assert run_through(ledger, give_back) == []
    assert ledger.fates(event_id) == [(1, "pending", None), (2, "pending", None)]


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_between_two_slices_is_no_violation(ledger: Ledger, seed: int) -> None:
    draw = random.Random(seed)
    ids = [
        ledger.add(every(seconds=draw.randint(1, 5)), catch_up=draw.choice(["all", "latest"]))
        for _ in range(6)
    ]
    for _ in range(20):
        live(ledger, draw.randint(1, 4))

    def happen() -> None:
        event_id = draw.choice(ids)
        status = ledger.event(event_id).status
        match draw.randint(0, 5):
            case 0:
                live(ledger, draw.randint(1, 9))
            case 1:
                ledger.clock.advance(1)
                claims = ledger.claim(ahead=2.0).claims
                ledger.run(ledger.here.claims.give_back, claims, now=ledger.now)
            case 2 if status != "deleted":
                ledger.run(
                    ledger.here.events.update, event_id,
                    Changes(trigger=every(seconds=draw.randint(1, 5))), now=ledger.now,
                    version=None, author=None, given_back=(),
                )  # fmt: skip
            case 3 if status in ("active", "paused"):
                verb = {"active": "pause", "paused": "resume"}[status]
                ledger.set_status(event_id, verb)
            case 4:
                ledger.run(
                    prune, ledger.dialect, ledger.ids, now=ledger.now, retain_age_us=20 * US,
                    retain_count=5, retain_gaps_us=40 * US, limit=5,
                )  # fmt: skip
            case _ if draw.random() < 0.1 and status != "deleted":
                ledger.set_status(event_id, "delete")

    assert run_through(ledger, happen) == []
    ledger.check_accounts()


# -- what is no violation ----------------------------------------------------------------------


def test_a_jump_of_the_clock_explains_an_odd_order(ledger: Ledger, verify: Any) -> None:
    ledger.add(every(seconds=10))
    ledger.clock.advance(10)
    claims = ledger.claim().claims
    ledger.end(*claims, took=-600.0)
    assert [item.kind for item in verify().violations] == [K.ORDER]

    def note(at: int) -> None:
        ledger.run(
            write_entry, JournalKind.CLOCK_JUMPED, now=at, ids=ledger.ids, node="here", seconds=-600
        )

    note(ledger.now + 2 * 3600 * US)
    assert [item.kind for item in verify().violations] == [K.ORDER]
    note(ledger.now - 300 * US)
    assert verify().ok


def test_a_second_that_no_journal_notes_is_let_pass(ledger: Ledger, verify: Any) -> None:
    ledger.add(every(seconds=10))
    ledger.clock.advance(10)
    ledger.end(*ledger.claim().claims, took=-1.0)
    assert verify().ok
    ledger.clock.advance(10)
    ledger.end(*ledger.claim().claims, took=-1.1)
    assert [item.kind for item in verify().violations] == [K.ORDER]


def test_a_lease_that_has_just_ended_may_wait_to_be_noticed(ledger: Ledger, verify: Any) -> None:
    ledger.run(ledger.here.leases.register, now=ledger.now)
    ledger.add(every(seconds=10), overlap="allow_all")
    ledger.clock.advance(10)
    assert ledger.claim().claims
    ledger.clock.advance(50)
    assert verify().ok
    ledger.clock.advance(0.1)
    assert [item.kind for item in verify().violations] == [K.HOLDER_GONE]
    assert verify(node="here").ok
    assert not verify(node="there").ok


def test_a_quarantined_event_may_have_a_rule_that_cannot_be_read(
    ledger: Ledger, verify: Any
) -> None:
    event_id = ledger.add(every(seconds=10))
    live(ledger, 30)
    ledger.run(lambda db: EventRow.update(trigger="often").execute(db))
    assert [item.kind for item in verify().violations] == [K.UNREADABLE]
    ledger.claim()
    live(ledger, 10)
    assert ledger.event(event_id).status == "quarantined"
    assert verify().ok


def test_a_rule_that_gives_up_its_search_is_told_of(
    ledger: Ledger, verify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.add(cron("* * * * *"), name="tired")
    ledger.add(every(seconds=3), name="fresh")

    def gives_up(*_: object) -> None:
        raise ValidationFailed("searched in vain", path="trigger")

    monkeypatch.setattr(type(cron("* * * * *")), "next_us", gives_up)
    (found,) = verify().violations
    assert (found.kind, found.rows[0]["name"]) == (K.UNREADABLE, "tired")
    assert "searched in vain" in found.words


# -- the file, one event, progress -------------------------------------------------------------


def test_a_damaged_file_is_told_of_when_that_is_asked_for(ledger: Ledger, lived: Any) -> None:
    connection = ledger.db.connection()
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema "
        "WHERE name = 'gaps_time') WHERE name = 'events_job'"
    )
    connection.execute("PRAGMA writable_schema = RESET")
    assert ledger.verify().ok
    found = ledger.verify(integrity=True)
    assert {item.kind for item in found.violations} == {K.INTEGRITY}
    assert any("events_job" in item.words for item in found.violations)


def test_an_event_that_does_not_exist_is_refused(ledger: Ledger, lived: Any, verify: Any) -> None:
    with pytest.raises(EventNotFound):
        verify(event_id=ledger.ids())
    assert verify(event_id=lived.busy).events == 1


def test_it_tells_how_far_it_has_come(
    ledger: Ledger, lived: Any, logged: list[dict[str, Any]]
) -> None:
    work = verifier(ledger)
    ledger.run(work.step)
    ledger.clock.advance(6)
    while ledger.run(work.step) is None:
        continue
    told = [entry for entry in logged if entry["event"] == "verify_progressed"]
    assert [(entry["events"], entry["violations"]) for entry in told] == [(8, 0)]
    (ended,) = [entry for entry in logged if entry["event"] == "ledger_verified"]
    assert (ended["ok"], ended["events"], ended["seconds"]) == (True, 8, 6.0)


# -- cost --------------------------------------------------------------------------------------


def test_a_gap_of_a_hundred_million_instants_is_counted_by_arithmetic(
    ledger: Ledger, verify: Any
) -> None:
    ledger.add(cron("* * * * * *"), catch_up="skip")
    ledger.run(ledger.here.leases.register, now=ledger.now)
    ledger.clock.advance(100_000_000)
    ledger.end(*ledger.claim().claims)
    (count,) = ledger.rows(GapRow.select(GapRow.count))[0]
    assert count > 99_999_000
    assert verify().ok
    ledger.run(lambda db: GapRow.update(count=GapRow.count + 1).execute(db))
    assert {item.kind for item in verify().violations} == {K.WRONG_COUNT}


def _peak(ledger: Ledger) -> int:
    tracemalloc.start()
    assert ledger.verify(limit=10).ok
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def _fill(ledger: Ledger, events: int, instants: int) -> None:
    """Events that ran every second for so many instants, the odd ones as gaps of one."""
    rule = every(seconds=1)
    made = ledger.create(*(ledger.definition(rule) for _ in range(events)))
    start = ledger.now
    columns = {
        "version": 1, "fate": Fate.SUCCEEDED.value, "attempt": 1, "node": "here",
        "claimed_at": start + US,
    }  # fmt: skip
    for event in made:
        executions, gaps = [], []
        for number in range(1, instants + 1):
            at = start + number * US
            if number % 2:
                gaps.append(
                    {
                        "id": ledger.ids(), "event_id": event.id, "first": at, "last": at,
                        "count": 1, "fate": "skipped", "reason": "missed", "version": 1,
                        "recorded_at": at,
                    }
                )  # fmt: skip
            else:
                executions.append(
                    {
                        **columns, "id": ledger.ids(), "event_id": event.id, "due": at,
                        "started_at": at, "ended_at": at,
                    }
                )  # fmt: skip
        for batch in range(0, len(gaps), 500):
            GapRow.insert_many(gaps[batch : batch + 500]).execute(ledger.db)
            ExecutionRow.insert_many(executions[batch : batch + 500]).execute(ledger.db)
    EventRow.update(next_due=start + (instants + 1) * US).where(
        EventRow.id.in_([event.id for event in made])
    ).execute(ledger.db)
    ledger.clock.advance(1)


def test_a_ledger_a_hundred_times_as_large_takes_no_hundred_times_the_memory(
    make_ledger: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "ROWS", 100)
    monkeypatch.setattr(line, "EVENTS", 20)
    small = make_ledger()
    _fill(small, 2, 100)
    _peak(small)
    few = _peak(small)
    large = make_ledger()
    _fill(large, 1, 10_000)
    _fill(large, 100, 100)
    assert _peak(large) < 3 * few


def test_nodes_that_have_gone_are_no_violation_where_nothing_is_open(
    ledger: Ledger, lived: Any, verify: Any
) -> None:
    ledger.run(lambda db: NodeRow.delete().execute(db))
    kinds = [item.kind for item in verify().violations]
    assert kinds == [K.HOLDER_GONE]
    ledger.run(
        lambda db: (
            ExecutionRow.update(fate="succeeded", ended_at=ledger.now)
            .where(ExecutionRow.ended_at.is_null())
            .execute(db)
        )
    )
    assert verify().ok
