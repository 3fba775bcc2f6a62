"""Portions: units of one kind that wait side by side run as one, and nobody can tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw
import peewee
import pytest

from kalends.errors import ConflictError, StorageUnavailable, ValidationFailed
from kalends.storage.engine import Storage
from kalends.storage.facts import put_fact
from kalends.storage.models import MetaRow
from kalends.storage.portions import Answer, Portion

Open = Callable[..., Storage]
WAIT = 20.0


class Work:
    """Stores facts, several at once, and keeps what it was given each time."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []

    def __call__(self, db: peewee.Database, parts: Sequence[str]) -> list[Answer[str]]:
        self.given.append(list(parts))
        answers: list[Answer[str]] = []
        for part in parts:
            if part.startswith("no"):
                answers.append((None, ConflictError(part, path="part")))
                continue
            put_fact(db, part, "1")
            if part.startswith("bug"):
                raise ZeroDivisionError(part)
            if part.startswith("void"):
                db.connection().execute("ROLLBACK")
                raise ZeroDivisionError(part)
            answers.append((part.upper(), None))
        return answers


def keys(db: peewee.Database) -> list[str]:
    query = MetaRow.select(MetaRow.key).where(MetaRow.key != "schema").order_by(MetaRow.key)
    return [key for (key,) in query.tuples().execute(db)]


@contextmanager
def held(storage: Storage) -> Iterator[None]:
    """The writer is busy within, so that what is given to it waits together."""
    begun, may_end = threading.Event(), threading.Event()

    def hold(_: peewee.Database) -> None:
        begun.set()
        assert may_end.wait(WAIT)

    storage.write(hold)
    assert begun.wait(WAIT)
    yield
    may_end.set()


def test_portions_that_wait_side_by_side_run_as_one(open_storage: Open) -> None:
    storage, work = open_storage(), Work()
    with held(storage):
        before = storage.units
        futures = [storage.write(Portion(work, key)) for key in "abc"]
    assert [future.get(timeout=WAIT) for future in futures] == ["A", "B", "C"]
    assert work.given == [["a", "b", "c"]]
    assert storage.read(keys).get(timeout=WAIT) == ["a", "b", "c"]
    assert storage.units - before == 4, "each counts, and so does the one that was held"


def test_a_portion_alone_is_a_unit_like_any_other(open_storage: Open) -> None:
    storage, work = open_storage(), Work()
    assert storage.write(Portion(work, "a")).get(timeout=WAIT) == "A"
    with pytest.raises(ConflictError, match="no"):
        storage.write(Portion(work, "no")).get(timeout=WAIT)
    assert work.given == [["a"], ["no"]]


def test_other_units_keep_their_place_among_portions(open_storage: Open) -> None:
    storage, work, other = open_storage(), Work(), Work()
    seen: list[list[str]] = []
    with held(storage):
        storage.write(Portion(work, "a"))
        storage.write(Portion(work, "b"))
        storage.write(lambda db: seen.append(keys(db)))
        storage.write(Portion(work, "c"))
        storage.write(Portion(other, "d"))
        last = storage.write(Portion(other, "e"))
    assert last.get(timeout=WAIT) == "E"
    assert (work.given, other.given) == ([["a", "b"], ["c"]], [["d", "e"]])
    assert seen == [["a", "b"]], "it ran after what came before it"


def test_a_refused_portion_hears_so_and_its_neighbours_do_not(open_storage: Open) -> None:
    storage, work = open_storage(), Work()
    with held(storage):
        futures = [storage.write(Portion(work, key)) for key in ("a", "no 1", "b", "no 2")]
    assert [futures[0].get(timeout=WAIT), futures[2].get(timeout=WAIT)] == ["A", "B"]
    for place in (1, 3):
        with pytest.raises(ConflictError, match=f"no {place // 2 + 1}"):
            futures[place].get(timeout=WAIT)
    assert work.given == [["a", "no 1", "b", "no 2"]]


@pytest.mark.parametrize("accident", ["bug", "void"])
def test_where_the_whole_fails_each_portion_is_done_by_itself(
    open_storage: Open, accident: str
) -> None:
    storage, work = open_storage(), Work()
    with held(storage):
        parts = ("a", f"{accident} 1", "b", "no", f"{accident} 2", "c")
        futures = [storage.write(Portion(work, part)) for part in parts]
        other = storage.write(lambda db: put_fact(db, "other", "1"))
    outcomes: list[Any] = []
    for future in futures:
        try:
            outcomes.append(future.get(timeout=WAIT))
        except (ConflictError, ZeroDivisionError) as error:
            outcomes.append(type(error))
    refused = [ZeroDivisionError, ConflictError, ZeroDivisionError]
    assert outcomes == ["A", refused[0], "B", refused[1], refused[2], "C"]
    other.get(timeout=WAIT)
    assert work.given[0] == list(parts)
    assert work.given[-1] == ["c"]
    assert storage.read(keys).get(timeout=WAIT) == ["a", "b", "c", "other"]
    assert storage.health.reason is None


def test_a_unit_that_fails_does_not_undo_portions_before_it(open_storage: Open) -> None:
    storage, work = open_storage(), Work()

    def bad(db: peewee.Database) -> None:
        put_fact(db, "bad", "1")
        raise ValidationFailed("no", path="x")

    with held(storage):
        first = [storage.write(Portion(work, key)) for key in "ab"]
        failing = storage.write(bad)
    assert [future.get(timeout=WAIT) for future in first] == ["A", "B"]
    with pytest.raises(ValidationFailed):
        failing.get(timeout=WAIT)
    assert storage.read(keys).get(timeout=WAIT) == ["a", "b"]


@pytest.mark.on_sqlite
def test_where_the_disk_is_full_each_portion_that_fits_is_stored(open_storage: Open) -> None:
    storage = open_storage()

    def work(db: peewee.Database, sizes: Sequence[int]) -> list[Answer[int]]:
        for size in sizes:
            put_fact(db, f"{size:06}", "x" * size)
        return [(size, None) for size in sizes]

    def limit(db: peewee.Database) -> None:
        connection = db.connection()
        pages = connection.execute("PRAGMA page_count").fetchall()[0][0]
        connection.execute(f"PRAGMA max_page_count={pages + 3}").fetchall()

    storage.write(limit).get(timeout=WAIT)
    with held(storage):
        futures = [storage.write(Portion(work, size)) for size in (10, 100_000, 11, 200_000)]
    assert [futures[0].get(timeout=WAIT), futures[2].get(timeout=WAIT)] == [10, 11]
    for future in (futures[1], futures[3]):
        with pytest.raises(StorageUnavailable) as caught:
            future.get(timeout=WAIT)
        assert caught.value.details["reason"] == "full"
    assert storage.read(keys).get(timeout=WAIT) == ["000010", "000011"]


@pytest.mark.on_sqlite
def test_what_is_alone_in_its_transaction_needs_no_savepoint(open_storage: Open) -> None:
    storage, seen = open_storage(), list[str]()

    def bad(db: peewee.Database) -> None:
        put_fact(db, "bad", "1")
        raise ValidationFailed("no", path="x")

    def trace(_cursor: apsw.Cursor, sql: str, _values: Any) -> bool:
        seen.append(sql.split(maxsplit=1)[0])
        return True

    def listen(db: peewee.Database) -> None:
        db.connection().exec_trace = trace

    storage.write(listen).get(timeout=WAIT)
    assert seen == ["COMMIT"]
    storage.write(lambda db: put_fact(db, "a", "1")).get(timeout=WAIT)
    with pytest.raises(ValidationFailed):
        storage.write(bad).get(timeout=WAIT)
    with held(storage):
        work = Work()
        several = [storage.write(Portion(work, key)) for key in "bc"]
    assert [future.get(timeout=WAIT) for future in several] == ["B", "C"]
    wanted = ["BEGIN", "INSERT", "COMMIT", "BEGIN", "INSERT", "ROLLBACK", "BEGIN", "COMMIT"]
    assert [it for it in seen[1:] if it != "PRAGMA"] == [
        *wanted, "BEGIN", "INSERT", "INSERT", "COMMIT",
    ]  # fmt: skip
    assert storage.read(keys).get(timeout=WAIT) == ["a", "b", "c"]
