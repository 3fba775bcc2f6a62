"""A PostgreSQL server that is away for a while: nothing is acknowledged, and it heals by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import peewee
import psycopg
import pytest

from kalends.errors import StorageUnavailable
from kalends.futures import Future
from kalends.storage.engine import Storage
from kalends.storage.facts import fact, put_fact
from kalends.storage.postgres import PostgresDialect
from kalends.storage.postgres.schema import LOCK

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

Open = Callable[..., Storage]
WAIT = 20.0


def put(key: str, value: str = "1") -> Callable[[peewee.Database], None]:
    return lambda db: put_fact(db, key, value)


def get(storage: Storage, key: str) -> str | None:
    return storage.read(lambda db: fact(db, key)).get(timeout=WAIT)


def refusal(future: Future[Any]) -> StorageUnavailable:
    with pytest.raises(StorageUnavailable) as caught:
        future.get(timeout=WAIT)
    return caught.value


def sessions(db: peewee.Database) -> int:
    return int(db.connection().info.backend_pid)


def end_session(postgres: PostgresServer, pid: int, until: Callable[..., Any]) -> None:
    postgres.execute("SELECT pg_terminate_backend(%s)", pid)
    gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
    until(lambda: postgres.execute(gone, pid) == [(0,)])


def test_a_connection_that_broke_while_it_was_idle_is_made_anew_unnoticed(
    postgres: PostgresServer, open_postgres: Open, until: Callable[..., Any]
) -> None:
    storage = open_postgres()
    storage.write(put("a")).get(timeout=WAIT)
    for ask in (storage.write, storage.read):
        end_session(postgres, ask(sessions).get(timeout=WAIT), until)
    storage.write(put("b")).get(timeout=WAIT)
    assert (get(storage, "a"), get(storage, "b")) == ("1", "1")
    assert storage.health.reason is None


def test_a_connection_that_breaks_within_a_transaction_leaves_nothing_behind(
    postgres: PostgresServer, open_postgres: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_postgres()

    def breaking(db: peewee.Database) -> None:
        put_fact(db, "half", "done")
        postgres.execute("SELECT pg_terminate_backend(%s)", sessions(db))
        put_fact(db, "other", "half")

    error = refusal(storage.write(breaking))
    assert error.details["reason"] == "unreachable"
    assert "outcome" not in error.details, "it is known: nothing"
    storage.write(put("after")).get(timeout=WAIT)
    assert (get(storage, "half"), get(storage, "after")) == (None, "1")
    assert [entry["event"] for entry in logged] == ["storage_degraded", "storage_recovered"]


def test_neighbours_of_a_unit_that_breaks_the_connection_are_committed(
    postgres: PostgresServer, open_postgres: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_postgres()
    begun, may_end = threading.Event(), threading.Event()

    def gate(db: peewee.Database) -> None:
        begun.set()
        assert may_end.wait(WAIT)

    def breaking(db: peewee.Database) -> None:
        postgres.execute("SELECT pg_terminate_backend(%s)", sessions(db))
        put_fact(db, "never", "1")

    storage.write(gate)
    assert begun.wait(WAIT)
    before, broken, after = (
        storage.write(put("a")),
        storage.write(breaking),
        storage.write(put("b")),
    )
    may_end.set()
    refusal(broken)
    before.get(timeout=WAIT)
    after.get(timeout=WAIT)
    assert [get(storage, key) for key in ("a", "b", "never")] == ["1", "1", None]


def test_a_commit_whose_answer_is_lost_says_that_its_outcome_is_unknown(
    open_postgres: Open, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    storage = open_postgres()
    really = storage.dialect.commit

    def commit(db: peewee.Database) -> None:
        really(db)
        db.connection().close()
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(storage.dialect, "commit", commit)
    error = refusal(storage.write(put("a")))
    assert (error.details["reason"], error.details["outcome"]) == ("unreachable", "unknown")
    monkeypatch.undo()
    assert get(storage, "a") == "1", "it had come to pass"
    storage.write(put("b")).get(timeout=WAIT)
    assert storage.health.reason is None


def test_a_transaction_that_the_server_has_given_up_is_not_taken_for_committed(
    open_postgres: Open,
) -> None:
    storage = open_postgres()

    def swallowing(db: peewee.Database) -> None:
        put_fact(db, "a", "1")
        with pytest.raises(peewee.PeeweeException):
            db.execute_sql("SELECT 1 / 0")

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        storage.write(swallowing).get(timeout=WAIT)
    assert get(storage, "a") is None


def test_a_server_that_is_stopped_and_started_loses_nothing(
    postgres: PostgresServer, open_postgres: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_postgres(durability="full")
    storage.write(put("a")).get(timeout=WAIT)
    postgres.stop()
    try:
        assert refusal(storage.write(put("b"))).details["reason"] == "unreachable"
        assert storage.health.reason == "unreachable"
        assert refusal(storage.read(sessions)).details["reason"] == "unreachable"
    finally:
        postgres.start()
    write_until_taken(storage, put("c"))
    assert [get(storage, key) for key in ("a", "b", "c")] == ["1", None, "1"]
    assert storage.health.reason is None
    told = [entry["event"] for entry in logged]
    assert told == ["storage_degraded", "storage_recovered"], "each change is told once"


def write_until_taken(storage: Storage, unit: Callable[[peewee.Database], None]) -> None:
    pause = threading.Event()
    for _ in range(200):
        try:
            return storage.write(unit).get(timeout=WAIT)
        except StorageUnavailable:
            pause.wait(0.05)
    raise AssertionError("the storage did not recover")


def test_while_nobody_answers_there_are_pauses_between_attempts(
    make_postgres: Callable[..., PostgresDialect], monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = make_postgres("postgresql://x@127.0.0.1:9/db")
    attempts: list[str] = []

    def refuse(conninfo: str, **_: Any) -> None:
        attempts.append(conninfo)
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(psycopg, "connect", refuse)
    for _ in range(1000):
        with pytest.raises((StorageUnavailable, peewee.OperationalError)):
            dialect.connect(read_only=False)
    assert len(attempts) < 20


# -- others ------------------------------------------------------------------------------------


def test_one_who_holds_the_lock_too_long_is_waited_for_and_then_refused(
    open_postgres: Open, somebody: Any, schema: str, logged: list[dict[str, Any]]
) -> None:
    storage = open_postgres(busy_timeout=0.1)
    somebody.execute("BEGIN")
    somebody.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (LOCK, schema))
    assert refusal(storage.write(put("a"))).details["reason"] == "locked"
    assert get(storage, "a") is None, "reading goes on"
    somebody.execute("ROLLBACK")
    storage.write(put("b")).get(timeout=WAIT)
    assert storage.health.reason is None


def test_writers_take_turns(open_postgres: Open) -> None:
    one, two = open_postgres(), open_postgres()
    begun, may_end = threading.Event(), threading.Event()

    def count(db: peewee.Database) -> int:
        found = int(fact(db, "n") or 0)
        begun.set()
        assert may_end.wait(WAIT)
        put_fact(db, "n", str(found + 1))
        return found

    first = one.write(count)
    assert begun.wait(WAIT)
    second = two.write(count)
    may_end.set()
    assert [first.get(timeout=WAIT), second.get(timeout=WAIT)] == [0, 1]


def test_one_who_stands_still_in_a_transaction_is_cut_off_and_begins_it_anew(
    open_postgres: Open, logged: list[dict[str, Any]]
) -> None:
    stopped, going = open_postgres(lease=2.0), open_postgres(busy_timeout=10.0)
    begun, may_end = threading.Event(), threading.Event()
    runs: list[str | None] = []

    def stand_still(db: peewee.Database) -> None:
        runs.append(fact(db, "c"))
        put_fact(db, "a", str(len(runs)))
        begun.set()
        assert may_end.wait(WAIT)
        put_fact(db, "b", "1")

    still = stopped.write(stand_still)
    beside = stopped.write(put("d"))
    assert begun.wait(WAIT)
    going.write(put("c")).get(timeout=WAIT)  # after half a second, not after ten
    may_end.set()
    still.get(timeout=WAIT)
    beside.get(timeout=WAIT)
    assert runs == [None, "1"], "undone, and run again on what others have written since"
    assert [get(going, key) for key in ("a", "b", "c", "d")] == ["2", "1", "1", "1"]
    assert logged == []


def test_one_who_is_stopped_while_an_answer_is_sent_is_cut_off_by_those_who_wait(
    open_postgres: Open, somebody: Any, schema: str, until: Callable[..., Any]
) -> None:
    storage = open_postgres(lease=2.0)
    somebody.execute("BEGIN")
    somebody.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (LOCK, schema))
    somebody.pgconn.send_query(b"SELECT repeat('x', 1000) FROM generate_series(1, 100000)")
    waits = "SELECT wait_event = 'ClientWrite' FROM pg_stat_activity WHERE pid = %s"
    pid = somebody.info.backend_pid

    def stands_still() -> bool:
        found = storage.read(lambda db: db.execute_sql(waits, (pid,)).fetchone()[0])
        return bool(found.get(timeout=WAIT))

    until(stands_still)
    storage.write(put("a")).get(timeout=WAIT)
    assert storage.health.reason is None
    somebody.close()  # it was cut off


def test_one_who_works_while_others_wait_is_left_alone(
    open_postgres: Open, somebody: Any, schema: str
) -> None:
    storage = open_postgres(lease=1.0)
    somebody.execute("BEGIN")
    somebody.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (LOCK, schema))
    writing = storage.write(put("a"))
    somebody.execute("SELECT pg_sleep(1.6)")
    somebody.execute("COMMIT")
    writing.get(timeout=WAIT)
    assert storage.health.reason is None


def test_one_with_a_long_lease_may_reckon_for_longer_than_the_leases_of_others_allow(
    open_postgres: Open,
) -> None:
    slow, hasty = open_postgres(lease=60.0), open_postgres(lease=1.0)
    begun, may_end = threading.Event(), threading.Event()

    def reckon(db: peewee.Database) -> None:
        assert not begun.is_set(), "it was cut off"
        begun.set()
        assert may_end.wait(WAIT)

    reckoning = slow.write(reckon)
    assert begun.wait(WAIT)
    writing = hasty.write(put("a"))
    with pytest.raises(TimeoutError):
        writing.get(timeout=2.5)  # twice as long as it waits before it looks who holds the lock
    may_end.set()
    reckoning.get(timeout=WAIT)
    writing.get(timeout=WAIT)


def test_one_who_is_cut_off_again_and_again_is_refused_and_the_others_are_not(
    open_postgres: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_postgres()
    begun, may_end = threading.Event(), threading.Event()

    def gate(db: peewee.Database) -> None:
        begun.set()
        assert may_end.wait(WAIT)

    def crawl(db: peewee.Database) -> None:
        put_fact(db, "a", "1")
        raise psycopg.errors.IdleInTransactionSessionTimeout("you stood still")

    storage.write(gate)
    assert begun.wait(WAIT)
    before, crawling, after = storage.write(put("b")), storage.write(crawl), storage.write(put("c"))
    may_end.set()
    assert refusal(crawling).details == {"reason": "stood_still"}
    before.get(timeout=WAIT)
    after.get(timeout=WAIT)
    assert [get(storage, key) for key in ("a", "b", "c")] == [None, "1", "1"]
    assert [entry["event"] for entry in logged] == ["storage_degraded", "storage_recovered"]


def test_a_transaction_that_had_to_make_way_is_run_again(
    open_postgres: Open, somebody: Any, until: Callable[..., Any]
) -> None:
    storage = open_postgres()
    for key in ("a", "b"):
        storage.write(put(key, "0")).get(timeout=WAIT)
    begun, may_go_on = threading.Event(), threading.Event()
    runs: list[int] = []

    def cross(db: peewee.Database) -> None:
        runs.append(1)
        db.execute_sql("SET LOCAL deadlock_timeout = '10ms'")
        put_fact(db, "a", "mine")
        begun.set()
        assert may_go_on.wait(WAIT)
        put_fact(db, "b", "mine")

    somebody.execute("BEGIN")
    somebody.execute("SET LOCAL deadlock_timeout = '1min'")
    somebody.execute("UPDATE kalends_meta SET value = 'theirs' WHERE key = 'b'")
    crossing = storage.write(cross)
    assert begun.wait(WAIT)

    def collide() -> None:
        somebody.execute("UPDATE kalends_meta SET value = 'theirs' WHERE key = 'a'")
        somebody.execute("COMMIT")

    colliding = threading.Thread(target=collide)
    colliding.start()
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s"
    look = lambda: storage.read(  # noqa: E731
        lambda db: db.execute_sql(waits, (somebody.info.backend_pid,)).fetchone()[0]
    ).get(timeout=WAIT)
    until(look)
    may_go_on.set()
    crossing.get(timeout=WAIT)
    colliding.join(WAIT)
    assert len(runs) > 1
    assert storage.health.reason is None
    assert (get(storage, "a"), get(storage, "b")) == ("mine", "mine")


# -- what others commit ------------------------------------------------------------------------


def test_what_others_commit_is_noticed_once_and_ones_own_is_not(
    postgres: PostgresServer, open_postgres: Open, until: Callable[..., Any]
) -> None:
    one, two = open_postgres(), open_postgres()

    def looked(storage: Storage) -> bool:
        return storage.others_committed().get(timeout=WAIT)

    assert not looked(one)
    one.write(put("a")).get(timeout=WAIT)
    assert not looked(one)
    two.write(put("b")).get(timeout=WAIT)
    until(lambda: looked(one))
    assert not looked(one)
    two.write(lambda db: fact(db, "a")).get(timeout=WAIT)
    one.write(put("c")).get(timeout=WAIT)
    assert not looked(one), "a transaction that wrote nothing tells nobody"
    end_session(postgres, one.write(sessions).get(timeout=WAIT), until)

    def looked_again() -> bool:
        try:
            return looked(one)
        except StorageUnavailable:  # that is how it learns of the loss
            return False

    until(looked_again)  # what was said while it did not listen, it has missed
    assert not looked(one)
