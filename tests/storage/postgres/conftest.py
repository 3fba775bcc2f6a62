"""A schema on the server that a test may do anything to, and storages on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from kalends.storage.engine import Storage
from kalends.storage.postgres import Address, PostgresDialect

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """A schema of the test's own that does not exist yet."""
    return postgres.url()


@pytest.fixture
def schema(url: str) -> str:
    return Address.read(url, patience=5.0).schema


@pytest.fixture
def make_postgres(url: str) -> Callable[..., PostgresDialect]:
    """Makes dialects of the schema."""

    def make(where: str = url, **options: Any) -> PostgresDialect:
        settings = {"durability": "normal", "busy_timeout": 5.0, **options}
        return PostgresDialect(Address.read(where, patience=5.0), **settings)

    return make


@pytest.fixture
def open_postgres(
    make_postgres: Callable[..., PostgresDialect],
) -> Iterator[Callable[..., Storage]]:
    """Opens storages on the schema and closes them at the end."""
    opened: list[Storage] = []

    def make(**options: Any) -> Storage:
        storage = Storage(make_postgres(**options), readers=1)
        storage.open()
        opened.append(storage)
        return storage

    yield make
    for storage in opened:
        assert storage.close(10.0)


@pytest.fixture
def somebody(postgres: PostgresServer, schema: str) -> Iterator[psycopg.Connection[Any]]:
    """Another session, which begins and ends its transactions by hand."""
    with psycopg.connect(postgres.uri, autocommit=True) as connection:
        connection.execute(f"SET search_path TO {schema}".encode())
        yield connection
