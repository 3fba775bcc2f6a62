"""Where a PostgreSQL database is, and the schema in it that is ours: read from a URL.

``postgresql://user:password@host:5432/name?schema=kalends&sslmode=require``: everything that libpq
knows, and ``schema``. What the URL does not say comes from libpq's environment (``PGPASSWORD``,
``PGPASSFILE``, ``PGSERVICE``). A password is never shown.
"""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec
import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kalends.errors import ValidationFailed, did_you_mean
from kalends.jobs.codec import storable

__all__ = ["SCHEMES", "Address"]

SCHEMES = ("postgresql", "postgres")
_SCHEMA_NAME = re.compile(r"(?!pg_|information_schema$)[a-z_][a-z0-9_]{0,39}")
_WORDS_OF_URLS = ("ssl",)
"""What libpq takes in a URL alone: ``ssl=true``, as of JDBC."""
_DEFAULTS = {
    "application_name": "kalends",
    # A server that is gone without a word is noticed within half a minute, not after two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


class Address(msgspec.Struct, frozen=True):
    """One schema of one database."""

    url: str
    """As it was given."""
    conninfo: str
    """What libpq takes."""
    schema: str
    shown: str
    """For messages: without the password."""

    @property
    def quoted(self) -> str:
        """The schema in a statement: ``user`` and ``select`` are names, too."""
        return f'"{self.schema}"'

    @classmethod
    def read(cls, url: str, *, patience: float) -> Address:
        """Raises ``ValidationFailed``. ``patience``: how many seconds a connection may take to be
        made, where the URL does not say.
        """
        try:
            parts = urlsplit(url)
            asked = _parameters(parts.query)
            if "@" not in parts.query + parts.fragment:  # else a password may have a ? in it
                _check_parameters(asked)
            schema = unquote(asked.pop("schema", "=kalends").partition("=")[2])
            plain = urlunsplit(parts._replace(query="&".join(asked.values())))
            options: dict[str, Any] = conninfo_to_dict(plain)
            _check_numbers(options)
        except (ValueError, psycopg.Error) as error:
            raise ValidationFailed(
                "database is a URL that PostgreSQL's library cannot read", path="database"
            ) from _told(error)
        if _SCHEMA_NAME.fullmatch(schema) is None:
            raise ValidationFailed(
                "the schema in a database URL has up to 40 small letters, digits and _, and is "
                "none of the server's own",
                path="database",
            )
        patient = {"connect_timeout": max(2, math.ceil(patience))}
        conninfo = make_conninfo(**{**_DEFAULTS, **patient, **options})
        return cls(url, conninfo, schema, _shown(options, schema))


def _parameters(query: str) -> dict[str, str]:
    """The parameters by name, each as it stands there: libpq reads ``%20``, and a ``+`` is one."""
    given = [part for part in query.split("&") if part]
    return {unquote(part.partition("=")[0]): part for part in given}


def _check_numbers(options: dict[str, Any]) -> None:
    """Raises ``ValueError`` for what libpq, or the driver, looks at only when it connects."""
    for port in filter(None, str(options.get("port") or "").split(",")):
        int(port)
    int(options.get("connect_timeout") or 0)


def _check_parameters(asked: dict[str, str]) -> None:
    """Refuse parameters that there are not, by name: libpq's message may show a password."""
    known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    for name in asked:
        if name not in (*known, "schema", *_WORDS_OF_URLS):
            raise ValidationFailed(
                f"database has a parameter {storable(name[:40])!r}, which neither PostgreSQL's "
                f"library nor Kalends knows{did_you_mean(name, [*known, 'schema'])}",
                path="database",
            )


def _told(error: Exception) -> Exception | None:
    """libpq repeats parts of the URL, and a password may be among them."""
    return None if isinstance(error, psycopg.Error) else error


def _shown(options: dict[str, Any], schema: str) -> str:
    host = options.get("host") or "localhost"
    port = f":{options['port']}" if options.get("port") else ""
    name = options.get("dbname") or options.get("user") or ""
    return f"the schema {schema} of postgresql://{host}{port}/{name}"
