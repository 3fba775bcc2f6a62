"""The engine: shared commits, savepoints, readers beside the writer, and an end without loss."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import peewee
import pytest

from kalends.errors import NotInitialized, StorageUnavailable, ValidationFailed
from kalends.futures import Future
from kalends.storage.engine import Storage
from kalends.storage.facts import put_fact
from kalends.storage.models import MetaRow

Open = Callable[..., Storage]
WAIT = 10.0


def put(key: str, value: str = "1") -> Callable[[peewee.Database], str]:
    """A unit that stores a fact."""

    def unit(db: peewee.Database) -> str:
        put_fact(db, key, value)
        return key

    return unit


def keys(db: peewee.Database) -> list[str]:
    query = MetaRow.select(MetaRow.key).where(MetaRow.key != "schema").order_by(MetaRow.key)
    return [key for (key,) in query.tuples().execute(db)]


class Gate:
    """A unit or query that has begun and waits until it may end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, db: peewee.Database) -> None:
        self.begun.set()
        assert self.may_end.wait(WAIT)


def test_units_that_wait_share_one_commit(open_storage: Open) -> None:
    storage = open_storage()
    gate = Gate()
    first = storage.write(gate)
    assert gate.begun.wait(WAIT)
    before = storage.commits
    rest = [storage.write(put(f"k{number:03}")) for number in range(200)]
    gate.may_end.set()
    first.get(timeout=WAIT)
    assert [future.get(timeout=WAIT) for future in rest] == [f"k{n:03}" for n in range(200)]
    assert storage.commits - before == 1 + math.ceil(200 / storage.dialect.group)
    assert storage.units >= 201


def test_units_of_many_threads_are_all_committed_in_fewer_commits(open_storage: Open) -> None:
    storage = open_storage()
    gate = Gate()
    storage.write(gate)
    assert gate.begun.wait(WAIT)
    futures: list[Future[str]] = []
    threads = [
        threading.Thread(
            target=lambda t=t: futures.extend([storage.write(put(f"{t}-{n}")) for n in range(50)])
        )
        for t in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    gate.may_end.set()
    for future in futures:
        future.get(timeout=WAIT)
    assert len(storage.read(keys).get(timeout=WAIT)) == 400
    assert storage.commits <= 2 + math.ceil(400 / storage.dialect.group)


def test_units_of_one_thread_run_in_the_order_given(open_storage: Open) -> None:
    storage = open_storage()
    seen: list[int] = []
    futures = [
        storage.write(lambda db, n=n: seen.append(n))  # type: ignore[misc]
        for n in range(1000)
    ]
    futures[-1].get(timeout=WAIT)
    assert seen == list(range(1000))


def test_a_failing_unit_leaves_no_trace_and_does_not_hurt_its_neighbours(
    open_storage: Open,
) -> None:
    storage = open_storage()

    def bad(db: peewee.Database) -> None:
        put("bad")(db)
        raise ValidationFailed("no", path="x")

    gate = Gate()
    storage.write(gate)
    assert gate.begun.wait(WAIT)
    before, failing, after = storage.write(put("a")), storage.write(bad), storage.write(put("b"))
    gate.may_end.set()
    assert (before.get(timeout=WAIT), after.get(timeout=WAIT)) == ("a", "b")
    with pytest.raises(ValidationFailed):
        failing.get(timeout=WAIT)
    assert storage.read(keys).get(timeout=WAIT) == ["a", "b"]


def test_a_bug_in_a_unit_reaches_its_asker_alone(open_storage: Open) -> None:
    storage = open_storage()

    def bug(db: peewee.Database) -> None:
        raise ZeroDivisionError

    failing = storage.write(bug)
    with pytest.raises(ZeroDivisionError):
        failing.get(timeout=WAIT)
    assert storage.write(put("a")).get(timeout=WAIT) == "a"
    assert storage.health.reason is None


def test_a_unit_that_voids_the_transaction_does_not_take_its_neighbours_along(
    open_storage: Open,
) -> None:
    storage = open_storage()

    def void(db: peewee.Database) -> None:
        db.connection().execute("ROLLBACK")
        raise ZeroDivisionError

    gate = Gate()
    storage.write(gate)
    assert gate.begun.wait(WAIT)
    good = [storage.write(put("a")), storage.write(put("b"))]
    voiding = storage.write(void)
    good.append(storage.write(put("c")))
    gate.may_end.set()
    with pytest.raises(ZeroDivisionError):
        voiding.get(timeout=WAIT)
    assert [future.get(timeout=WAIT) for future in good] == ["a", "b", "c"]
    assert storage.read(keys).get(timeout=WAIT) == ["a", "b", "c"]


def test_a_read_sees_every_write_that_was_answered(open_storage: Open) -> None:
    storage = open_storage()
    for number in range(100):
        key = storage.write(put(f"{number:03}")).get(timeout=WAIT)
        assert storage.read(keys).get(timeout=WAIT)[-1] == key


def test_a_callback_of_a_write_sees_it_committed(open_storage: Open) -> None:
    storage = open_storage()
    seen: Future[list[str]] = Future()

    def tell(done: Future[list[str]]) -> None:
        seen.resolve(done.value, done.error)

    def look(_: Future[str]) -> None:
        storage.read(keys).add_done_callback(tell)

    storage.write(put("a")).add_done_callback(look)
    assert seen.get(timeout=WAIT) == ["a"]


def test_readers_do_not_wait_for_a_long_transaction(open_storage: Open) -> None:
    storage = open_storage()
    storage.write(put("a")).get(timeout=WAIT)
    gate = Gate()

    def long_unit(db: peewee.Database) -> None:
        put("b")(db)
        gate(db)

    long = storage.write(long_unit)
    assert gate.begun.wait(WAIT)
    assert storage.read(keys).get(timeout=WAIT) == ["a"]
    gate.may_end.set()
    long.get(timeout=WAIT)
    assert storage.read(keys).get(timeout=WAIT) == ["a", "b"]


def test_a_query_sees_one_state_of_the_database_throughout(open_storage: Open) -> None:
    storage = open_storage(readers=1)
    gate = Gate()

    def twice(db: peewee.Database) -> tuple[list[str], list[str]]:
        first = keys(db)
        gate(db)
        return first, keys(db)

    reading = storage.read(twice)
    assert gate.begun.wait(WAIT)
    storage.write(put("a")).get(timeout=WAIT)
    gate.may_end.set()
    assert reading.get(timeout=WAIT) == ([], [])
    assert storage.read(keys).get(timeout=WAIT) == ["a"]


def test_a_reader_left_with_an_open_cursor_or_an_error_still_moves_on(open_storage: Open) -> None:
    storage = open_storage(readers=1)
    for number in range(5):
        storage.write(put(f"{number}")).get(timeout=WAIT)
    kept: list[Any] = []

    def careless(db: peewee.Database) -> None:
        cursor = db.execute_sql("SELECT key FROM kalends_meta")
        assert cursor.fetchone()
        kept.append(cursor)
        raise ZeroDivisionError

    failing = storage.read(careless)
    with pytest.raises(ZeroDivisionError):
        failing.get(timeout=WAIT)
    kept.clear()
    storage.write(put("later")).get(timeout=WAIT)
    assert "later" in storage.read(keys).get(timeout=WAIT)


def test_a_reader_cannot_write(open_storage: Open) -> None:
    storage = open_storage()
    refused = storage.read(put("a"))
    with pytest.raises(StorageUnavailable):
        refused.get(timeout=WAIT)
    assert storage.read(keys).get(timeout=WAIT) == []


def test_closing_commits_what_waits(open_storage: Open) -> None:
    storage = open_storage("drain.db")
    gate = Gate()
    storage.write(gate)
    assert gate.begun.wait(WAIT)
    waiting = [storage.write(put(f"{n:04}")) for n in range(2000)]
    closing = threading.Thread(target=storage.close, args=(WAIT,))
    closing.start()
    gate.may_end.set()
    closing.join(WAIT)
    assert [future.get(timeout=WAIT) for future in waiting] == [f"{n:04}" for n in range(2000)]
    again = open_storage("drain.db")
    assert len(again.read(keys).get(timeout=WAIT)) == 2000


def test_work_given_to_a_closed_storage_is_refused_and_never_lost(open_storage: Open) -> None:
    storage = open_storage()
    assert storage.close(WAIT)
    for future in (storage.write(put("a")), storage.read(keys)):
        with pytest.raises(NotInitialized):
            future.get(timeout=WAIT)
    assert storage.close(WAIT), "closing twice is closing"


def test_no_answer_is_lost_when_closing_races_with_writing(
    open_storage: Open, database: str
) -> None:
    for _ in range(20 if database == "sqlite" else 3):
        storage = open_storage(None)
        futures: list[Future[str]] = []
        begun = threading.Event()

        def write_on(
            storage: Storage = storage,
            futures: list[Future[str]] = futures,
            begun: threading.Event = begun,
        ) -> None:
            for number in range(300):
                futures.append(storage.write(put(f"{number}")))
                begun.set()

        writer = threading.Thread(target=write_on)
        writer.start()
        assert begun.wait(WAIT)
        assert storage.close(WAIT)
        writer.join(WAIT)
        for future in futures:
            try:
                future.get(timeout=WAIT)
            except NotInitialized:
                continue


@pytest.mark.on_sqlite
def test_memory_serves_reads_on_the_connection_that_wrote(open_storage: Open) -> None:
    storage = open_storage(None)
    storage.write(put("a")).get(timeout=WAIT)
    assert storage.read(keys).get(timeout=WAIT) == ["a"]
    assert storage.dialect.files == ()
    storage.upkeep().get(timeout=WAIT)


@pytest.mark.on_sqlite
def test_two_storages_in_memory_share_nothing(open_storage: Open) -> None:
    one, two = open_storage(None), open_storage(None)
    one.write(put("a")).get(timeout=WAIT)
    assert two.read(keys).get(timeout=WAIT) == []


def test_upkeep_runs_beside_work(open_storage: Open) -> None:
    storage = open_storage()
    storage.write(put("a")).get(timeout=WAIT)
    storage.upkeep().get(timeout=WAIT)
    assert storage.read(keys).get(timeout=WAIT) == ["a"]


def test_a_failed_opening_leaves_no_thread_and_no_handle(
    open_storage: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage("x.db")
    storage.close(WAIT)
    before = threading.active_count()

    def refuse(db: peewee.Database) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(storage.dialect, "migrate", refuse)
    again = Storage(storage.dialect)
    with pytest.raises(ZeroDivisionError):
        again.open()
    assert threading.active_count() == before


def test_what_slips_in_after_the_thread_looked_for_the_last_time_is_refused(
    open_storage: Open,
) -> None:
    storage = open_storage()
    assert storage.close(WAIT)
    storage._writer._closing = False  # as a submit sees it that began before the closing
    future = storage.write(put("a"))
    with pytest.raises(NotInitialized):
        future.get(timeout=WAIT)


def test_what_other_storages_commit_is_noticed_once(
    open_storage: Open, until: Callable[..., Any]
) -> None:
    one, two = open_storage(), open_storage()
    one.write(put("a")).get(timeout=WAIT)
    assert not one.others_committed().get(timeout=WAIT), "its own is none"
    two.write(put("b")).get(timeout=WAIT)
    until(lambda: one.others_committed().get(timeout=WAIT))
    assert not one.others_committed().get(timeout=WAIT)


@pytest.mark.on_sqlite
def test_in_memory_nobody_else_commits(open_storage: Open) -> None:
    storage = open_storage(None)
    storage.write(put("a")).get(timeout=WAIT)
    assert not storage.others_committed().get(timeout=WAIT)
