"""A ledger driven by hand: real storage functions, one connection, a clock that stands still."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import peewee
import pytest
from tests.storage.node import LEASE_US, Node

from kalends.clock import MAX_US, US
from kalends.drafts import Definition, OnConflict
from kalends.ids import IdSource
from kalends.model import Event, Execution, Failure, Fate
from kalends.policies import Policies
from kalends.retrying import Ask
from kalends.storage.claims import Claimed
from kalends.storage.dialect import Dialect
from kalends.storage.engine import Storage
from kalends.storage.models import DefinitionRow, EventRow, ExecutionRow, GapRow
from kalends.storage.outcomes import Recorded
from kalends.storage.postgres import Address, PostgresDialect
from kalends.storage.rows import load_trigger
from kalends.storage.sqlite import SqliteDialect
from kalends.storage.verify.walk import Verifier
from kalends.testing.clock import ManualClock
from kalends.triggers import Trigger, every
from kalends.verification import Verification, ViolationKind
from kalends.work import Claim, Outcome

if TYPE_CHECKING:
    from tests.postgres_server import Connections, PostgresServer

T = TypeVar("T")
START = 1_800_000_000 * US


class Ledger:
    """One database and two nodes on one connection; every call is one transaction."""

    def __init__(
        self, dialect: Dialect, clock: ManualClock, db: peewee.Database | None = None
    ) -> None:
        """``db``: a connection to a database that is ready and empty; None: it is not open yet."""
        self.clock = clock
        self.dialect = dialect
        if db is None:
            dialect.prepare()
            db = dialect.connect(read_only=False)
            dialect.migrate(db)
        self.db = db
        self.ids = IdSource(clock, random.Random(1))
        self.here = Node(self.dialect, self.ids, "here")
        self.there = Node(self.dialect, self.ids, "there")
        self._names = itertools.count(1)

    @property
    def now(self) -> int:
        return self.clock.now_us()

    def run(self, unit: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """``unit(db, …)`` in a transaction, undone if it raises."""
        self.dialect.begin(self.db)
        try:
            value = unit(self.db, *args, **kwargs)
        except BaseException:
            self.dialect.rollback(self.db)
            raise
        self.dialect.commit(self.db)
        return value

    def definition(
        self,
        trigger: Trigger | None = None,
        *,
        name: str | None = None,
        job: str = "work",
        arguments: str = '{"args":[],"kwargs":{}}',
        tags: tuple[str, ...] = (),
        note: str | None = None,
        **policies: Any,
    ) -> Definition:
        return Definition(
            name=name or f"event-{next(self._names)}",
            job=job,
            arguments=arguments,
            trigger=trigger or every(seconds=10),
            policies=Policies(**policies),
            tags=tags,
            note=note,
        )

    def create(self, *definitions: Definition, conflict: str = "error") -> tuple[Event, ...]:
        return self.run(
            self.here.events.create,
            definitions,
            now=self.now,
            on_conflict=OnConflict(conflict),
            author=None,
        )

    def add(self, trigger: Trigger | None = None, **fields: Any) -> str:
        """The id of a new event."""
        return self.create(self.definition(trigger, **fields))[0].id

    def event(self, event_id: str) -> Event:
        return self.run(self.here.events.get, event_id, deleted=True)

    def set_status(self, event_id: str, verb: str, **more: Any) -> Event:
        return self.run(self.here.events.set_status, event_id, verb, now=self.now, **more)

    def claim(
        self,
        *,
        ahead: float = 0.0,
        limit: int = 1000,
        node: Node | None = None,
        settled: Sequence[Outcome] = (),
    ) -> Claimed:
        return self.run(
            (node or self.here).claims.claim_due,
            now=self.now,
            ahead=round(ahead * US),
            limit=limit,
            settled={outcome.execution_id: outcome for outcome in settled},
        )

    def outcome(
        self, claim: Claim, fate: Fate = Fate.SUCCEEDED, took: float = 0.0, **more: Any
    ) -> Outcome:
        """The outcome of a claim that began now and ends ``took`` seconds later."""
        return Outcome(
            execution_id=claim.id,
            event_id=claim.event_id,
            attempt=claim.attempt,
            fate=fate,
            started_us=self.now,
            ended_us=self.now + round(took * US),
            **more,
        )

    def record(self, *outcomes: Outcome, node: Node | None = None) -> Recorded:
        return self.run((node or self.here).outcomes.record, outcomes, now=self.now)

    def trigger(self, event_id: str, *, now: int | None = None, **how: Any) -> Claim:
        """The claim of a manual execution, which begins at once."""
        when = self.now if now is None else now
        (claim,) = self.run(self.here.claims.trigger_now, event_id, now=when, **how).claims
        return claim

    def end(
        self,
        *claims: Claim,
        fate: Fate = Fate.SUCCEEDED,
        node: Node | None = None,
        took: float = 0.0,
        result: str | None = None,
    ) -> tuple[str, ...]:
        """Record that the claims began now and ended ``took`` seconds later."""
        failure = Failure(type="Oops", message="no") if fate is Fate.FAILED else None
        outcomes = [self.outcome(it, fate, took, result=result, error=failure) for it in claims]
        return self.record(*outcomes, node=node).rejected

    def fail(
        self,
        claim: Claim,
        *kinds: str,
        ask: Ask | None = None,
        fate: Fate = Fate.FAILED,
        node: Node | None = None,
        took: float = 0.0,
    ) -> Recorded:
        """Record that the claim began now and raised what bears these names."""
        error = Failure(type=kinds[0] if kinds else "Oops", message="no")
        outcome = self.outcome(claim, fate, took, error=error, kinds=kinds, ask=ask)
        return self.record(outcome, node=node)

    def execution(self, execution_id: str) -> Execution:
        return self.run(self.here.executions.get, execution_id)

    def rows(self, query: Any) -> list[tuple[Any, ...]]:
        return list(query.tuples().execute(self.db))

    def gaps(self, event_id: str) -> list[tuple[int, int, int, str, str | None]]:
        """(first, last, count, fate, reason) of the event's gaps; seconds from START."""
        query = GapRow.select(
            GapRow.first, GapRow.last, GapRow.count, GapRow.fate, GapRow.reason
        ).where(GapRow.event_id == event_id)
        found = self.rows(query.order_by(GapRow.first))
        return [((a - START) // US, (b - START) // US, *rest) for a, b, *rest in found]

    def fates(self, event_id: str) -> list[tuple[int, str, str | None]]:
        """(due, fate, reason) of the event's executions; instants in seconds from START."""
        query = ExecutionRow.select(ExecutionRow.due, ExecutionRow.fate, ExecutionRow.reason)
        found = self.rows(query.where(ExecutionRow.event_id == event_id).order_by(ExecutionRow.due))
        return [((due - START) // US, fate, reason) for due, fate, reason in found]

    def verify(self, **options: Any) -> Verification:
        """The ledger's own check of itself, each slice in a transaction of its own."""
        if options.pop("integrity", False):
            options["damage"] = self.dialect.damage
        options = {"node": None, "lease": LEASE_US / US, "limit": 1000, **options}
        verifier = Verifier(self.clock, **options)
        while (found := self.run(verifier.step)) is None:
            continue
        return found

    def check_accounts(self) -> int:
        """Every instant of every event has exactly one fate; returns how many were looked at.

        Walks every instant, which ``verify`` does not: the two have to agree.
        """
        found = self.verify().violations
        # Many tests claim for nodes that hold no lease.
        assert [item for item in found if item.kind is not ViolationKind.HOLDER_GONE] == []
        columns = (
            EventRow.id, EventRow.status, EventRow.trigger, EventRow.rule_since,
            EventRow.accounted_from, EventRow.next_due,
        )  # fmt: skip
        return sum(self._check_event(*row) for row in self.rows(EventRow.select(*columns)))

    def _check_event(
        self,
        event_id: str,
        status: str,
        trigger: str,
        rule_since: int,
        accounted_from: int,
        next_due: int | None,
    ) -> int:
        old = DefinitionRow.select(DefinitionRow.trigger, DefinitionRow.since, DefinitionRow.until)
        spans = self.rows(old.where(DefinitionRow.event_id == event_id))
        if status != "deleted":
            end = MAX_US if next_due is None else next_due - 1
            spans.append((trigger, rule_since, end))
        expected: list[int] = []
        for text, since, until in sorted(spans, key=lambda span: int(span[1])):
            rule = load_trigger(text)
            instants = list(rule.between_us(max(since, accounted_from), until + 1))
            assert len(instants) == rule.count_us(max(since, accounted_from), until + 1)
            expected += instants
        assert len(expected) == len(set(expected)), "two definitions account for one instant"
        executions = self.rows(
            ExecutionRow.select(ExecutionRow.due).where(
                ExecutionRow.event_id == event_id,
                ExecutionRow.manual == False,  # noqa: E712  (SQL)
                ExecutionRow.due >= accounted_from,
            )
        )
        gaps = self.rows(
            GapRow.select(GapRow.first, GapRow.last, GapRow.count).where(
                GapRow.event_id == event_id, GapRow.last >= accounted_from
            )
        )
        told = {due for (due,) in executions}
        for first, last, count in gaps:
            assert first >= accounted_from, "a gap straddles the beginning of the account"
            inside = [due for due in expected if first <= due <= last]
            assert len(inside) == count, f"gap {first}..{last} tells of {count}, not {len(inside)}"
            assert inside[0] == first, "a gap begins at an instant"
            assert inside[-1] == last, "a gap ends at an instant"
            assert told.isdisjoint(inside), "an instant has two fates"
            told.update(inside)
        assert told == set(expected), (
            f"missing {sorted(set(expected) - told)[:5]}, "
            f"not due {sorted(told - set(expected))[:5]} of {event_id} ({status})"
        )
        return len(expected)

    def close(self) -> None:
        self.db.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What stands on storage runs on each kind of it, but for tests of SQLite's own ways."""
    if "database" in metafunc.fixturenames:
        one = [name for name in ("sqlite", "postgres") if _is_on(metafunc, name)]
        kinds = one or ["sqlite", "postgres"]
        metafunc.parametrize("database", kinds, indirect=True)


def _is_on(metafunc: pytest.Metafunc, kind: str) -> bool:
    return metafunc.definition.get_closest_marker(f"on_{kind}") is not None


@pytest.fixture
def make_dialect(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Dialect]]:
    """Makes dialects of the kind that the test runs on. A name is a database: one name, one
    database.
    """
    names: dict[str | None, str] = {}
    lent: list[str] = []

    def make(name: str | None = "kalends.db", **options: Any) -> Dialect:
        if database == "sqlite":
            settings = {"durability": "normal", "busy_timeout": 0.2, **options}
            return SqliteDialect(None if name is None else tmp_path / name, **settings)
        if name is None or name not in names:
            url: str = request.getfixturevalue("postgres").lend()
            names[name] = url
            lent.append(url)
        settings = {"durability": "normal", "busy_timeout": 30.0, **options}
        return PostgresDialect(Address.read(names[name], patience=5.0), **settings)

    yield make
    for url in lent:
        request.getfixturevalue("postgres").take_back(url)


@pytest.fixture(scope="session")
def connections(postgres: PostgresServer) -> Iterator[Connections]:
    from tests.postgres_server import Connections

    kept = Connections(postgres)
    yield kept
    kept.close()


@pytest.fixture
def ledger(
    database: str, tmp_path: Path, clock: ManualClock, request: pytest.FixtureRequest
) -> Iterator[Ledger]:
    """An empty ledger on a database of its own."""
    if database == "postgres":
        connections: Connections = request.getfixturevalue("connections")
        dialect, db = connections.take()
        yield Ledger(dialect, clock, db)
        connections.put_back(dialect, db)
        return
    path = tmp_path / "ledger.db"
    ledger = Ledger(SqliteDialect(path, durability="normal", busy_timeout=0.2), clock)
    yield ledger
    ledger.close()


@pytest.fixture
def make_ledger() -> Iterator[Callable[[], Ledger]]:
    """Makes ledgers in memory: for tests that need a hundred of them."""
    made: list[Ledger] = []

    def make() -> Ledger:
        while made:
            made.pop().close()
        memory = SqliteDialect(None, durability="normal", busy_timeout=0.2)
        made.append(Ledger(memory, ManualClock(START)))
        return made[0]

    yield make
    while made:
        made.pop().close()


@pytest.fixture
def open_storage(make_dialect: Callable[..., Dialect]) -> Iterator[Callable[..., Storage]]:
    """Opens storages and closes them at the end."""
    opened: list[Storage] = []

    def make(name: str | None = "kalends.db", **options: Any) -> Storage:
        readers = options.pop("readers", 2)
        storage = Storage(make_dialect(name, **options), readers=readers)
        storage.open()
        opened.append(storage)
        return storage

    yield make
    for storage in opened:
        assert storage.close(10.0)


@pytest.fixture(autouse=True)
def no_model_is_bound() -> Iterator[None]:
    """Peewee's models must stay bound to no database, whatever a test did."""
    yield
    tables: tuple[type[peewee.Model], ...] = (EventRow, ExecutionRow, GapRow, DefinitionRow)
    assert [table for table in tables if table._meta.database is not None] == []
