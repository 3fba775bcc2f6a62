"""Opening a PostgreSQL database: found, made, or refused and left as it is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from kalends import Registry, Scheduler, Settings
from kalends.errors import StorageRefused, StorageUnavailable, ValidationFailed
from kalends.storage import migrations, open_storage
from kalends.storage.engine import Storage
from kalends.storage.postgres import Address, PostgresDialect
from kalends.storage.postgres import schema as schemas

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

Make = Callable[..., PostgresDialect]


def refusal(dialect: PostgresDialect) -> StorageRefused:
    with pytest.raises(StorageRefused) as caught:
        dialect.prepare()
    return caught.value


def tables(postgres: PostgresServer, schema: str) -> set[str]:
    sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    return {name for (name,) in postgres.execute(sql, schema)}


def test_everything_is_made_in_a_schema_of_its_own(
    postgres: PostgresServer, make_postgres: Make, schema: str
) -> None:
    make_postgres().prepare()
    made = tables(postgres, schema)
    assert made == {table._meta.table_name for table in migrations.TABLES}
    make_postgres().prepare()
    assert tables(postgres, schema) == made, "what is there is taken"
    found = postgres.execute(f"SELECT value FROM {schema}.kalends_meta WHERE key = 'schema'")
    assert found == [(str(migrations.SCHEMA),)]


def test_text_sorts_by_its_bytes_whatever_the_locale_of_the_database(
    postgres: PostgresServer, make_postgres: Make, schema: str
) -> None:
    make_postgres().prepare()
    sql = (
        "SELECT DISTINCT collation_name FROM information_schema.columns"
        " WHERE table_schema = %s AND data_type = 'text'"
    )
    assert postgres.execute(sql, schema) == [("C",)]


def test_of_many_that_start_at_once_one_makes_it_and_all_find_it(
    postgres: PostgresServer, make_postgres: Make, schema: str
) -> None:
    begin, errors = threading.Barrier(4), []

    def start() -> None:
        storage = Storage(make_postgres(busy_timeout=20.0), readers=1)
        begin.wait(20)
        try:
            storage.open()
            storage.close(10.0)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    rows = postgres.execute(f"SELECT count(*) FROM {schema}.kalends_meta WHERE key = 'schema'")
    assert rows == [(1,)]


def test_a_newer_schema_is_refused_and_left_as_it_is(
    postgres: PostgresServer, make_postgres: Make, schema: str
) -> None:
    make_postgres().prepare()
    postgres.execute(f"UPDATE {schema}.kalends_meta SET value = '99' WHERE key = 'schema'")
    error = refusal(make_postgres())
    assert error.details["reason"] == "newer_schema"
    assert "99" in error.message
    assert postgres.execute(f"SELECT value FROM {schema}.kalends_meta") == [("99",)]


@pytest.mark.parametrize("spoil", ["DELETE FROM {}.kalends_meta", "DROP TABLE {}.gaps"])
def test_half_a_database_is_refused(
    postgres: PostgresServer, make_postgres: Make, schema: str, spoil: str
) -> None:
    make_postgres().prepare()
    postgres.execute(spoil.format(schema))
    assert refusal(make_postgres()).details["reason"] == "corrupt"


def test_tables_of_somebody_else_are_not_touched(
    postgres: PostgresServer, make_postgres: Make, schema: str
) -> None:
    postgres.execute(f"CREATE SCHEMA {schema}")
    postgres.execute(f"CREATE TABLE {schema}.events (mine int)")
    error = refusal(make_postgres())
    assert error.details["reason"] == "foreign"
    assert "events" in error.message
    assert tables(postgres, schema) == {"events"}


def test_a_role_that_may_not_make_a_schema_is_told_so(
    postgres: PostgresServer, make_postgres: Make, url: str, schema: str
) -> None:
    role = f"guest_{schema}"
    postgres.execute(f"CREATE ROLE {role} LOGIN")
    theirs = url.replace("//postgres:", f"//{role}:")
    error = refusal(make_postgres(theirs))
    assert error.details["reason"] == "denied"
    postgres.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {role}")
    make_postgres(theirs).prepare()
    assert "events" in tables(postgres, schema)


@pytest.mark.parametrize(
    ("known", "unknown"), [("//postgres:", "//nobody:"), ("/postgres?", "/nothing?")]
)
def test_a_role_or_a_database_that_does_not_exist_cannot_be_reached(
    make_postgres: Make, url: str, known: str, unknown: str
) -> None:
    with pytest.raises(StorageUnavailable, match=rf'"{unknown.strip("/:?")}" does not exist'):
        make_postgres(url.replace(known, unknown)).prepare()


def test_a_database_whose_text_is_not_unicode_is_refused(
    postgres: PostgresServer, make_postgres: Make, url: str
) -> None:
    postgres.execute(
        "CREATE DATABASE plain ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    assert (
        refusal(make_postgres(url.replace("/postgres?", "/plain?"))).details["reason"] == "encoding"
    )


def test_a_server_that_is_too_old_is_refused(
    make_postgres: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "OLDEST_SERVER", 990_000)
    assert refusal(make_postgres()).details["reason"] == "server_too_old"


def test_a_database_that_only_reads_is_refused(
    postgres: PostgresServer, make_postgres: Make, url: str
) -> None:
    postgres.execute("CREATE DATABASE standing")
    postgres.execute("ALTER DATABASE standing SET default_transaction_read_only = on")
    error = refusal(make_postgres(url.replace("/postgres?", "/standing?")))
    assert error.details["reason"] == "read_only"


def test_a_server_that_does_not_answer_is_unavailable_for_now(make_postgres: Make) -> None:
    nobody = make_postgres("postgresql://x:secret@127.0.0.1:9/db?connect_timeout=2")
    with pytest.raises(StorageUnavailable) as caught:
        nobody.prepare()
    assert caught.value.details["reason"] == "unreachable"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql://u:secret@host:port/db",
        "postgresql://u:secret@h/db?colour=blue",
        "postgresql://u:secret@h/db?schema=",
        "postgresql://u:secret@h/db?schema=Mine",
        "postgresql://u:secret@h/db?schema=pg_mine",
        "postgresql://u:secret@h/db?schema=a;drop",
        "postgresql://u:secret@h/db?schema=information_schema",
        "postgresql://u:secret@h/db?connect_timeout=abc",
        "postgresql://u:secret@[h/db",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_and_its_password_kept(wrong: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        open_storage(wrong, Settings())
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__


def test_a_database_is_shown_without_its_password() -> None:
    address = Address.read("postgres://me:secret@db.example:5433/app?schema=jobs", patience=1.0)
    assert address.shown == "the schema jobs of postgresql://db.example:5433/app"
    assert address.schema == "jobs"
    assert "schema" not in address.conninfo.replace("jobs", "")


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("shema=jobs", "'shema'.*did you mean 'schema'"),
        ("schema=jobs&ssl_mode=require", "'ssl_mode'.*did you mean 'sslmode'"),
    ],
)
def test_a_parameter_that_there_is_not_is_named(parameter: str, words: str) -> None:
    with pytest.raises(ValidationFailed, match=words) as caught:
        Address.read(f"postgresql://me:secret@h/app?{parameter}", patience=1.0)
    assert caught.value.details["path"] == "database"


def test_a_parameter_is_handed_on_as_it_stands_in_the_url() -> None:
    url = (
        "postgresql://h/app?options=-c%20a%3Db&application_name=my%20app&schema=j%6Fbs&password=a+b"
    )
    address = Address.read(url, patience=1.0)
    found = conninfo_to_dict(address.conninfo)
    assert (found["options"], found["application_name"]) == ("-c a=b", "my app")
    assert (found["password"], address.schema) == ("a+b", "jobs")


@pytest.mark.parametrize("word", ["user", "select", "table"])
def test_a_schema_may_have_a_word_of_sql_as_its_name(postgres: PostgresServer, word: str) -> None:
    with Scheduler(postgres.url(word), registry=Registry(), environ={}) as scheduler:
        assert scheduler.verify().ok
    assert "events" in tables(postgres, word)
    postgres.execute(f'DROP SCHEMA "{word}" CASCADE')


def test_a_parameter_that_only_urls_have_is_known() -> None:
    assert "sslmode=require" in Address.read("postgresql://h/app?ssl=true", patience=1.0).conninfo


@pytest.mark.parametrize("password", ["open?sesame=1", "open?sesame&x"])
def test_a_password_that_looks_like_parameters_is_one_and_is_not_shown(password: str) -> None:
    address = Address.read(f"postgresql://me:{password}@h/app", patience=1.0)
    assert conninfo_to_dict(address.conninfo)["password"] == password
    assert "sesame" not in address.shown
    with pytest.raises(ValidationFailed) as caught:
        Address.read(f"postgresql://me:{password}@h:x/app", patience=1.0)
    assert "sesame" not in str(caught.value)


def test_without_the_driver_the_url_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kalends.storage.postgres", None)
    with pytest.raises(StorageRefused, match=r"kalends\[postgres\]") as caught:
        open_storage("postgresql://h/db", Settings())
    assert caught.value.details["reason"] == "missing_driver"


def test_a_session_is_set_up_for_what_it_does(open_postgres: Any) -> None:
    storage = open_postgres(durability="normal", busy_timeout=5.0)

    def shown(db: Any) -> dict[str, str]:
        names = (
            "application_name", "search_path", "TimeZone", "lock_timeout", "synchronous_commit",
            "idle_in_transaction_session_timeout", "default_transaction_read_only",
        )  # fmt: skip
        return {name: db.execute_sql(f"SHOW {name}").fetchone()[0] for name in names}

    written, read = storage.write(shown).get(timeout=10), storage.read(shown).get(timeout=10)
    assert (written["application_name"], written["TimeZone"]) == ("kalends", "UTC")
    assert written["search_path"].startswith("test_")
    assert written["lock_timeout"] == "5s"
    assert written["idle_in_transaction_session_timeout"] == "3750ms", "a quarter of a lease"
    assert (written["synchronous_commit"], written["default_transaction_read_only"]) == (
        "off",
        "off",
    )
    assert read["default_transaction_read_only"] == "on"
    full = open_postgres(durability="full")
    assert full.write(shown).get(timeout=10)["synchronous_commit"] == "on"


def test_an_older_schema_is_brought_up_to_date_once(
    postgres: PostgresServer, make_postgres: Make, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_postgres().prepare()
    runs: list[int] = []

    def step(db: Any) -> None:
        runs.append(1)
        db.execute_sql("ALTER TABLE events ADD COLUMN colour TEXT")

    newer = migrations.SCHEMA + 1
    monkeypatch.setattr(migrations, "SCHEMA", newer)
    monkeypatch.setitem(schemas.MIGRATIONS, newer, step)
    for _ in range(2):
        storage = Storage(make_postgres(), readers=1)
        storage.open()
        assert storage.close(10.0)
    assert runs == [1]
    sql = f"SELECT value FROM {schema}.kalends_meta WHERE key = 'schema'"
    assert postgres.execute(sql) == [(str(newer),)]


def test_a_schema_that_there_is_no_way_from_is_refused(
    postgres: PostgresServer, make_postgres: Make, schema: str
) -> None:
    make_postgres().prepare()
    postgres.execute(f"UPDATE {schema}.kalends_meta SET value = '1' WHERE key = 'schema'")
    with pytest.raises(StorageRefused) as caught:
        Storage(make_postgres(), readers=1).open()
    assert caught.value.details["reason"] == "older_schema"
