"""What PostgreSQL's errors are taken for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import peewee
import psycopg
import pytest
from psycopg import errors

from kalends.storage.postgres import PostgresDialect
from kalends.storage.postgres.troubles import REASONS, reason_of
from kalends.verification import ViolationKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.storage.conftest import Ledger

MEANT = [
    (errors.DiskFull, "full"),
    (errors.OutOfMemory, "no_memory"),
    (errors.TooManyConnections, "overloaded"),
    (errors.InsufficientPrivilege, "denied"),
    (errors.InvalidPassword, "denied"),
    (errors.UndefinedTable, "replaced"),
    (errors.InvalidCatalogName, "replaced"),
    (errors.ReadOnlySqlTransaction, "read_only"),
    (errors.LockNotAvailable, "locked"),
    (errors.DeadlockDetected, "deadlock"),
    (errors.SerializationFailure, "deadlock"),
    (errors.QueryCanceled, "interrupted"),
    (errors.IdleInTransactionSessionTimeout, "stood_still"),
    (errors.AdminShutdown, "unreachable"),
    (errors.CannotConnectNow, "unreachable"),
    (errors.ConnectionFailure, "unreachable"),
    (errors.IoError, "io_error"),
    (errors.DataCorrupted, "corrupt"),
    (psycopg.OperationalError, "unreachable"),
    (psycopg.InterfaceError, "unreachable"),
    (errors.UniqueViolation, None),
    (errors.DivisionByZero, None),
    (psycopg.DataError, None),
    (ValueError, None),
]


@pytest.mark.parametrize(("kind", "reason"), MEANT)
def test_an_error_says_why_the_database_cannot_be_used_or_nothing(
    kind: type[Exception], reason: str | None
) -> None:
    assert reason_of(kind("words")) == reason
    assert reason is None or reason in REASONS
    with pytest.raises(peewee.PeeweeException) as caught:
        raise peewee.OperationalError(kind("words"), "words")
    caught.value.orig = kind("words")  # type: ignore[attr-defined]  # as Peewee's wrapper leaves it
    assert reason_of(caught.value) == reason


def test_a_refusal_has_the_words_of_the_server(
    make_postgres: Callable[..., PostgresDialect],
) -> None:
    refusal = make_postgres().unavailable(errors.DiskFull("no space is left"))
    assert refusal is not None
    assert refusal.details == {"reason": "full"}
    assert "no space is left" in refusal.message


@pytest.mark.on_postgres
def test_an_index_that_the_server_does_not_trust_is_damage(ledger: Ledger) -> None:
    assert ledger.verify(integrity=True).ok
    spoil = "UPDATE pg_index SET indisvalid = {} WHERE indexrelid = 'gaps_time'::regclass"
    ledger.db.execute_sql(spoil.format("false"))
    try:
        found: Any = ledger.verify(integrity=True).violations
    finally:
        ledger.db.execute_sql(spoil.format("true"))
    assert [(item.kind, item.words) for item in found] == [
        (ViolationKind.INTEGRITY, "the index gaps_time is not valid")
    ]
