"""The contract of ``kalends.storage.dialect`` as tests that any kind of database can run.

Derive a test class, give it ``make_dialect``, and let pytest collect it::

    class TestMyDialect(StorageContract):
        @pytest.fixture(autouse=True)
        def database(self, tmp_path):
            self.url = make_an_empty_database(tmp_path)

        def make_dialect(self) -> Dialect:
            return MyDialect(self.url)

        def lost_connection(self) -> BaseException:
            return my_driver.OperationalError("the connection is lost")

Each test begins on an empty database and may open it several times, as several processes do. Every
wait has a time-out, ``patience`` seconds.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import peewee

from kalends.clock import US
from kalends.drafts import Definition, OnConflict
from kalends.errors import StorageUnavailable, ValidationFailed
from kalends.ids import IdSource
from kalends.model import Fate
from kalends.policies import Policies
from kalends.storage.claims import ClaimStore
from kalends.storage.dialect import Dialect
from kalends.storage.engine import Storage
from kalends.storage.events import EventStore
from kalends.storage.executions import ExecutionStore
from kalends.storage.facts import fact, put_fact
from kalends.storage.models import MetaRow
from kalends.storage.nodes import NodeStore
from kalends.storage.outcomes import OutcomeStore
from kalends.testing.clock import ManualClock
from kalends.triggers import every
from kalends.work import Claim, Outcome

__all__ = ["StorageContract"]

_START = 1_800_000_000 * US
_LEASE = 30


class _Gate:
    """A unit that has begun and waits until it may end."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, db: peewee.Database) -> None:
        self.begun.set()
        assert self.may_end.wait(self._patience)


class _Node:
    """One process on the database: its storage, and what it does there."""

    def __init__(self, storage: Storage, clock: ManualClock, name: str) -> None:
        ids = IdSource(clock)
        self.storage = storage
        self.clock = clock
        self.events = EventStore(storage.dialect, ids, name)
        self.claims = ClaimStore(storage.dialect, ids, name)
        self.outcomes = OutcomeStore(storage.dialect, ids, name)
        self.leases = NodeStore(ids, name, _LEASE * US)

    def write(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        now = self.clock.now_us()
        return self.storage.write(lambda db: unit(db, *args, now=now, **kwargs)).get(timeout=30.0)

    def claim(self) -> tuple[Claim, ...]:
        found = self.write(self.claims.claim_due, ahead=0, limit=1000, settled={})
        return tuple(found.claims)

    def end(self, claim: Claim) -> tuple[str, ...]:
        """Record that it has succeeded; the executions that are refused."""
        now = self.clock.now_us()
        outcome = Outcome(
            execution_id=claim.id, event_id=claim.event_id, attempt=claim.attempt,
            fate=Fate.SUCCEEDED, started_us=now, ended_us=now,
        )  # fmt: skip
        return tuple(self.write(self.outcomes.record, [outcome]).rejected)


class StorageContract:
    """Derive, and give ``make_dialect`` and ``lost_connection``."""

    patience = 10.0

    def make_dialect(self) -> Dialect:
        """A dialect of the test's database: in one test the same database at every call."""
        raise NotImplementedError

    def lost_connection(self) -> BaseException:
        """What the driver raises where the database has gone away."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _open(self) -> Iterator[Storage]:
        storage = Storage(self.make_dialect(), readers=1)
        storage.open()
        try:
            yield storage
        finally:
            assert storage.close(self.patience)

    @contextlib.contextmanager
    def _two(self) -> Iterator[tuple[Storage, Storage]]:
        with self._open() as one, self._open() as two:
            yield one, two

    @contextlib.contextmanager
    def _nodes(self, events: int, **policies: Any) -> Iterator[tuple[_Node, _Node]]:
        """Two processes, and as many events that are due."""
        clock = ManualClock(_START)
        with self._two() as (one, two):
            here, there = _Node(one, clock, "here"), _Node(two, clock, "there")
            drafts = [
                Definition(
                    name=f"event-{number}", job="work", arguments='{"args":[],"kwargs":{}}',
                    trigger=every(hours=1), policies=Policies(**policies),
                )
                for number in range(events)
            ]  # fmt: skip
            here.write(here.events.create, drafts, on_conflict=OnConflict.ERROR, author=None)
            for node in (here, there):
                node.write(node.leases.register)
            clock.advance(3600.0)
            for node in (here, there):
                node.write(node.leases.renew)
            yield here, there

    def _put(self, storage: Storage, key: str, value: str = "1") -> None:
        storage.write(lambda db: put_fact(db, key, value)).get(timeout=self.patience)

    def _get(self, storage: Storage, key: str) -> str | None:
        return storage.read(lambda db: fact(db, key)).get(timeout=self.patience)

    # -- transactions --------------------------------------------------------------------------

    def test_what_was_acknowledged_is_there_when_it_is_opened_again(self) -> None:
        with self._open() as storage:
            self._put(storage, "a")
            assert self._get(storage, "a") == "1"
        with self._open() as storage:
            assert self._get(storage, "a") == "1"

    def test_a_failed_unit_is_undone_and_its_neighbours_are_not(self) -> None:
        def bad(db: peewee.Database) -> None:
            put_fact(db, "bad", "1")
            raise ValidationFailed("no", path="x")

        with self._open() as storage:
            gate = _Gate(self.patience)
            first = storage.write(gate)
            assert gate.begun.wait(self.patience)
            before = storage.write(lambda db: put_fact(db, "before", "1"))
            failing = storage.write(bad)
            after = storage.write(lambda db: put_fact(db, "after", "1"))
            gate.may_end.set()
            for future in (first, before, after):
                future.get(timeout=self.patience)
            refused = False
            try:
                failing.get(timeout=self.patience)
            except ValidationFailed:
                refused = True
            assert refused
            found = [self._get(storage, key) for key in ("before", "bad", "after")]
            assert found == ["1", None, "1"]

    def test_writers_take_turns_so_that_what_one_has_read_is_true_until_it_commits(self) -> None:
        def count(db: peewee.Database) -> None:
            put_fact(db, "count", str(int(fact(db, "count") or 0) + 1))

        with self._two() as both:
            futures = [storage.write(count) for _ in range(100) for storage in both]
            for future in futures:
                future.get(timeout=self.patience)
            assert self._get(both[0], "count") == "200"

    def test_a_reader_sees_one_state_whatever_is_committed_meanwhile(self) -> None:
        with self._two() as (one, two):
            gate = _Gate(self.patience)

            def look(db: peewee.Database) -> tuple[str | None, str | None]:
                before = fact(db, "a")
                gate(db)
                return before, fact(db, "a")

            reading = one.read(look)
            assert gate.begun.wait(self.patience)
            self._put(two, "a")
            gate.may_end.set()
            assert reading.get(timeout=self.patience) == (None, None)
            assert self._get(one, "a") == "1"

    def test_a_commit_whose_answer_is_lost_is_refused_as_unknown_and_may_be_repeated(self) -> None:
        with self._open() as storage:
            dialect: Any = storage.dialect
            really, lost = dialect.commit, self.lost_connection()

            def commit(db: peewee.Database) -> None:
                really(db)
                raise lost

            dialect.commit = commit
            refusal: StorageUnavailable | None = None
            try:
                self._put(storage, "a")
            except StorageUnavailable as error:
                refusal = error
            finally:
                dialect.commit = really
            assert refusal is not None
            assert refusal.details["outcome"] == "unknown"
            self._put(storage, "a")
            assert self._get(storage, "a") == "1"
            assert storage.health.reason is None

    def test_what_others_commit_is_noticed_and_ones_own_is_not(self) -> None:
        def noticed(storage: Storage) -> bool:
            return storage.others_committed().get(timeout=self.patience)

        with self._two() as (one, two):
            noticed(one)
            self._put(one, "a")
            assert not noticed(one)
            self._put(two, "b")
            pause = threading.Event()
            assert any(noticed(one) or pause.wait(0.01) for _ in range(round(self.patience * 100)))
            assert not noticed(one)

    def test_text_sorts_by_its_bytes(self) -> None:
        keys = ["-", "0-a", "00", "A", "Z", "_", "a", "a-", "a-z", "aa"]
        with self._open() as storage:
            for key in reversed(keys):
                self._put(storage, key)
            query = MetaRow.select(MetaRow.key).where(MetaRow.key.in_(keys)).order_by(MetaRow.key)
            found = storage.read(lambda db: [key for (key,) in query.tuples().execute(db)])
            assert found.get(timeout=self.patience) == sorted(keys)

    # -- the ledger ----------------------------------------------------------------------------

    def test_of_two_processes_one_claims_each_execution(self) -> None:
        with self._nodes(50) as nodes:
            found: list[Claim] = []

            def claim(node: _Node) -> None:
                found.extend(node.claim())

            threads = [threading.Thread(target=claim, args=(node,)) for node in nodes * 2]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(self.patience)
            assert len({one.id for one in found}) == len(found) == 50

    def test_an_outcome_counts_once_and_only_from_who_holds_the_attempt(self) -> None:
        with self._nodes(1) as (here, there):
            (claim,) = here.claim()
            assert there.claim() == ()
            assert there.end(claim) == (claim.id,)
            assert here.end(claim) == ()
            assert here.end(claim) == (), "recorded twice, nothing changes"

    def test_who_lost_its_lease_cannot_end_what_another_has_taken_over(self) -> None:
        with self._nodes(1, delivery="at_least_once") as (here, there):
            (old,) = here.claim()
            here.clock.advance(_LEASE + 1.0)
            there.write(there.leases.renew)
            assert there.write(there.leases.rescue).reopened == 1
            (new,) = there.claim()
            assert (new.id, new.attempt) == (old.id, 2)
            assert here.end(old) == (old.id,)
            assert there.end(new) == ()
            read = there.storage.read(lambda db: ExecutionStore().get(db, new.id))
            execution = read.get(timeout=self.patience)
            assert [attempt.outcome for attempt in execution.attempts] == ["lost", "succeeded"]
