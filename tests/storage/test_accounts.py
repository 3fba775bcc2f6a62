"""The invariant of the ledger: whatever happens, every due instant has exactly one fate."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kalends.clock import US, from_us
from kalends.drafts import Changes
from kalends.errors import KalendsError
from kalends.model import Fate, JournalKind
from kalends.policies import Overlap
from kalends.storage.backfills import cancel_backfill, find_backfill, plan_backfill
from kalends.storage.foretold import move_next, skip_next
from kalends.storage.journal import write_entry
from kalends.storage.models import DefinitionRow, EventRow, ExecutionRow, GapRow
from kalends.storage.nodes import NodeStore
from kalends.storage.quarantine import quarantine
from kalends.storage.retention import prune
from kalends.storage.rows import load_trigger
from kalends.triggers import Trigger, cron, every, once
from kalends.work import Claim

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger
    from tests.storage.node import Node

ENDS = (Fate.SUCCEEDED, Fate.SUCCEEDED, Fate.FAILED, Fate.TIMED_OUT, Fate.CANCELLED)


class Life:
    """A ledger under random events, clocks that jump, nodes that die, and retention."""

    def __init__(self, ledger: Ledger, rng: random.Random) -> None:
        self.ledger = ledger
        self.rng = rng
        self.held: dict[str, list[Claim]] = {"here": [], "there": []}
        self.events: list[str] = []
        self.backfills: list[str] = []
        self.steps: tuple[Callable[[], None], ...] = (
            self.claim, self.claim, self.claim, self.claim, self.end, self.end, self.end,
            self.advance, self.advance, self.advance, self.jump, self.create, self.pause,
            self.resume, self.reschedule, self.reword, self.delete, self.manual, self.drain,
            self.die, self.prune, self.prune, self.quarantine, self.replace, self.skip, self.move,
            self.backfill, self.cancel,
        )  # fmt: skip

    def node(self) -> Node:
        return self.rng.choice([self.ledger.here, self.ledger.there])

    def rule(self) -> Trigger:
        now = from_us(self.ledger.now)
        return self.rng.choice(
            [
                every(seconds=self.rng.choice([1, 3, 7, 10])),
                every(seconds=5, anchor=now.add(seconds=self.rng.randint(-20, 20))),
                cron(self.rng.choice(["* * * * *", "*/2 * * * *"]), tz="UTC"),
                once(now.add(seconds=self.rng.randint(-5, 30))),
                every(seconds=2).between(now, now.add(seconds=self.rng.randint(1, 40))),
            ]
        )

    def create(self) -> None:
        made = self.ledger.create(
            self.ledger.definition(
                self.rule(),
                catch_up=self.rng.choice(["skip", "latest", "earliest", "all"]),
                catch_up_window=self.rng.choice([5.0, 60.0, 86_400.0]),
                catch_up_limit=self.rng.choice([1, 3, 100]),
                overlap=self.rng.choice(["skip", "allow_all"]),
                delivery=self.rng.choice(["at_least_once", "at_most_once"]),
                max_attempts=self.rng.choice([1, 2, 5]),
            )
        )
        self.events.append(made[0].id)

    def claim(self) -> None:
        node = self.node()
        found = self.ledger.claim(
            ahead=self.rng.choice([0.0, 0.0, 1.0, 5.0]),
            limit=self.rng.choice([1, 3, 1000]),
            node=node,
            settled=[self.ledger.outcome(claim) for claim in self.held[node.name][:1]],
        )
        self.held[node.name] += found.claims

    def end(self) -> None:
        node = self.node()
        mine = self.held[node.name]
        now = self.ledger.now
        for claim in [claim for claim in mine if claim.due + claim.delay_us <= now]:
            if self.rng.random() < 0.6:
                mine.remove(claim)
                self.ledger.end(claim, node=node, fate=self.rng.choice(ENDS))

    def advance(self) -> None:
        self.ledger.clock.advance(self.rng.choice([0.0, 0.3, 1.0, 4.0, 11.0, 63.0]))

    def jump(self) -> None:
        seconds = self.rng.choice([-60.0, -5.0, -1.0, 30.0])
        self.ledger.clock.jump(seconds)
        self.ledger.run(
            write_entry,
            JournalKind.CLOCK_JUMPED,
            now=self.ledger.now,
            ids=self.ledger.ids,
            seconds=seconds,
        )

    def revoked(self, event_id: str) -> list[Claim]:
        """Claims of the event that node ``here`` holds and has not begun; it forgets them."""
        mine = [claim for claim in self.held["here"] if claim.event_id == event_id]
        for claim in mine:
            self.held["here"].remove(claim)
        return mine

    def change(self, unit: Callable[..., Any], *args: Any, **more: Any) -> None:
        """Change a random event as the event manager does: revoke, change or put back."""
        if not self.events:
            return
        event_id = self.rng.choice(self.events)
        given_back = self.revoked(event_id)
        try:
            self.ledger.run(
                unit, event_id, *args, now=self.ledger.now, given_back=given_back, **more
            )
        except KalendsError:
            self.held["here"] += given_back

    def pause(self) -> None:
        ahead = self.rng.choice([None, None, 1, 7 * US, 40 * US])
        until = None if ahead is None else self.ledger.now + ahead
        self.change(self.ledger.here.events.set_status, "pause", until=until)

    def resume(self) -> None:
        self.change(self.ledger.here.events.set_status, "resume")

    def delete(self) -> None:
        if self.rng.random() < 0.5:
            self.change(self.ledger.here.events.set_status, "delete")

    def quarantine(self) -> None:
        if self.events and self.rng.random() < 0.3:
            name, event_id = self.node().name, self.rng.choice(self.events)
            ledger = self.ledger
            ledger.run(
                quarantine, event_id, now=ledger.now, error="poison", ids=ledger.ids, node=name
            )
        else:
            self.change(self.ledger.here.events.set_status, "release")

    def told(self, unit: Callable[..., Any], value: int) -> None:
        """Tell something of a random event's future, as the event manager does."""
        event_id = self.rng.choice(self.events)
        given_back = self.revoked(event_id)
        stamp = self.ledger.here.events.stamp(self.ledger.now, None)
        try:
            self.ledger.run(unit, event_id, value, stamp, given_back)
        except KalendsError:
            self.held["here"] += given_back

    def skip(self) -> None:
        self.told(skip_next, self.rng.choice([1, 2, 5]))

    def move(self) -> None:
        self.told(move_next, self.ledger.now + round(self.rng.choice([0, 0.5, 3, 20, 100]) * US))

    def backfill(self) -> None:
        now, rng = self.ledger.now, self.rng
        start = now - round(rng.choice([0.5, 5, 30, 100, 300]) * US)
        end = rng.choice([now, now, now - 3 * US, start + 10 * US])
        event_id, limit = rng.choice(self.events), rng.choice([1, 3, 1000])
        stamp = self.ledger.here.events.stamp(now, None)
        try:
            self.ledger.run(self.ledger.here.events.get, event_id)
            total, wanted = self.not_run(event_id, start, end)
            made = self.ledger.run(plan_backfill, event_id, start, end, limit, stamp)
        except KalendsError:
            return
        self.backfills.append(made.id)
        planned = ExecutionRow.select(ExecutionRow.due).where(ExecutionRow.batch == made.id)
        assert sorted(due for (due,) in self.ledger.rows(planned)) == wanted[: made.planned]
        assert made.planned == min(limit, len(wanted)) or made.resume_from is not None
        assert made.planned + made.remaining == len(wanted)
        assert made.planned + made.remaining + made.existing == total
        following = wanted[made.planned] if made.remaining else None
        assert made.resume_from == (None if following is None else from_us(following))

    def not_run(self, event_id: str, start: int, end: int) -> tuple[int, list[int]]:
        """How many instants the rules of then have, and which of them have not run; one by one."""
        ledger = self.ledger
        query = EventRow.select(EventRow.trigger).where(EventRow.id == event_id)
        current = load_trigger(ledger.rows(query)[0][0])
        rows = DefinitionRow.select(DefinitionRow.since, DefinitionRow.until, DefinitionRow.trigger)
        old = [
            (since, until + 1, load_trigger(text))
            for since, until, text in ledger.rows(rows.where(DefinitionRow.event_id == event_id))
        ]
        found = {
            instant
            for since, until, rule in old
            for instant in rule.between_us(max(since, start), min(until, end))
        } | {
            instant
            for instant in current.between_us(start, end)
            if not any(since <= instant < until for since, until, _ in old)
        }
        executions = ExecutionRow.select(
            ExecutionRow.due, ExecutionRow.attempt, ExecutionRow.ended_at
        ).where(ExecutionRow.event_id == event_id, ExecutionRow.manual == 0)
        ran = {due for due, attempt, ended in ledger.rows(executions) if attempt or not ended}
        gaps = GapRow.select(GapRow.first, GapRow.last).where(
            GapRow.event_id == event_id, GapRow.fate != "skipped"
        )
        folded = ledger.rows(gaps)
        wanted = sorted(
            instant
            for instant in found - ran
            if not any(first <= instant <= last for first, last in folded)
        )
        return len(found), wanted

    def cancel(self) -> None:
        if self.backfills:
            backfill_id = self.rng.choice(self.backfills)
            try:
                event_id = self.ledger.run(find_backfill, backfill_id).event_id
            except KalendsError:
                return  # pruned
            stamp = self.ledger.here.events.stamp(self.ledger.now, None)
            self.ledger.run(cancel_backfill, backfill_id, stamp, self.revoked(event_id))

    def reschedule(self) -> None:
        self.change(
            self.ledger.here.events.update,
            Changes(trigger=self.rule()),
            version=None,
            author=None,
        )

    def reword(self) -> None:
        self.change(self.ledger.here.events.update, Changes(note="x"), version=None, author=None)

    def replace(self) -> None:
        if self.events:
            try:
                name = self.ledger.event(self.rng.choice(self.events)).name
                made = self.ledger.create(
                    self.ledger.definition(self.rule(), name=name), conflict="replace"
                )
            except KalendsError:
                return
            self.events += [event.id for event in made if event.id not in self.events]

    def manual(self) -> None:
        if self.events:
            try:
                made = self.ledger.run(
                    self.ledger.here.claims.trigger_now,
                    self.rng.choice(self.events),
                    now=self.ledger.now,
                    overlap=self.rng.choice([None, None, *Overlap]),
                )
            except KalendsError:
                return
            self.held["here"] += made.claims
            gone = {ended.execution_id for ended in made.terminated}
            self.held["here"] = [claim for claim in self.held["here"] if claim.id not in gone]

    def drain(self) -> None:
        node = self.node()
        mine, self.held[node.name] = self.held[node.name], []
        kept = [claim for claim in mine if self.rng.random() < 0.3]
        self.held[node.name] = kept
        given_back = [claim for claim in mine if claim not in kept]
        self.ledger.run(node.claims.give_back, given_back, now=self.ledger.now)

    def die(self) -> None:
        """One node is found dead by the other; what it still does then must change nothing."""
        dead, other = self.rng.sample([self.ledger.here, self.ledger.there], 2)
        store: NodeStore = other.leases
        self.ledger.run(dead.leases.leave, now=self.ledger.now, abandoned=0)
        self.ledger.run(store.renew, now=self.ledger.now)
        stale, self.held[dead.name] = self.held[dead.name], []
        if self.rng.random() < 0.5:
            self.ledger.run(dead.claims.give_back, stale, now=self.ledger.now)
        else:
            self.ledger.end(*stale, node=dead)

    def prune(self) -> None:
        for _ in range(self.rng.choice([1, 3])):
            self.ledger.run(
                prune,
                self.ledger.dialect,
                self.ledger.ids,
                now=self.ledger.now,
                retain_age_us=self.rng.choice([None, 0, 10 * US, 60 * US]),
                retain_count=self.rng.choice([None, 0, 1, 4]),
                retain_gaps_us=self.rng.choice([None, None, 0, 60 * US, 300 * US]),
                limit=self.rng.choice([1, 2, 5, 1000]),
            )


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), length=st.integers(5, 60))
def test_whatever_happens_every_due_instant_has_exactly_one_fate(
    make_ledger: Callable[[], Ledger], seed: int, length: int
) -> None:
    rng = random.Random(seed)
    life = Life(make_ledger(), rng)
    life.create()
    for _ in range(length):
        step = rng.choice(life.steps)
        step()
        life.ledger.check_accounts()
        _check_open_executions(life.ledger)


def _check_open_executions(ledger: Ledger) -> None:
    """No execution waits for nobody, what was skipped never ran, and attempts have no holes.

    Of an event that is parked only what was attempted before, or asked for (moved, backfilled,
    triggered while it was), may wait; of a deleted one nothing. Only a pause has an end.
    """
    ends = EventRow.select(EventRow.status).where(EventRow.paused_until.is_null(False))
    assert {status for (status,) in ledger.rows(ends)} <= {"paused"}
    query = (
        ExecutionRow.select(
            EventRow.status,
            ExecutionRow.attempt,
            ExecutionRow.moved_to,
            ExecutionRow.batch,
            ExecutionRow.manual,
        )
        .join(EventRow, on=(EventRow.id == ExecutionRow.event_id))
        .where(ExecutionRow.ended_at.is_null(), ExecutionRow.node.is_null())
    )
    for status, attempt, *asked_for in ledger.rows(query):
        assert status != "deleted"
        assert attempt > 0 or any(asked_for) or status in ("active", "completed")
    ran = ExecutionRow.select(ExecutionRow.id).where(
        ExecutionRow.fate == "skipped", ExecutionRow.attempt > 0
    )
    assert ledger.rows(ran) == []
    for (execution_id,) in ledger.rows(ExecutionRow.select(ExecutionRow.id)):
        attempts = ledger.run(ledger.here.executions.get, execution_id).attempts
        assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1))
