"""PostgreSQL, the second kind of database. It needs the extra ``postgres`` (psycopg 3)."""

from __future__ import annotations

from kalends.storage.postgres.address import Address
from kalends.storage.postgres.dialect import PostgresDialect

__all__ = ["Address", "PostgresDialect"]
