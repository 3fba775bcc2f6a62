"""What PostgreSQL's errors mean: which of them say "not now", and why.

By SQLSTATE (PostgreSQL's manual, appendix A), first whole, then by its class. An error of the
connection has none: the server is not there, or the way to it is not; or it does not let us in, of
which libpq hands on the words alone.
"""

from __future__ import annotations

import peewee
import psycopg

__all__ = ["REASONS", "cause_of", "reason_of"]

_REASONS = {
    "25006": "read_only",  # a standby, or a database set so
    "25P03": "stood_still",  # this process did, within a transaction, and was cut off
    "25P04": "interrupted",
    "40001": "deadlock",
    "40P01": "deadlock",
    "42501": "denied",
    "42P01": "replaced",  # our tables are gone
    "3F000": "replaced",
    "3D000": "replaced",
    "53100": "full",
    "53200": "no_memory",
    "55P03": "locked",
    "57014": "interrupted",
    "58030": "io_error",
    "XX001": "corrupt",
    "XX002": "corrupt",
}
_CLASSES = {
    "08": "unreachable",
    "28": "denied",
    "53": "overloaded",
    "57": "unreachable",  # shutting down, crashed, or starting up
    "58": "io_error",
}
REASONS = frozenset({*_REASONS.values(), *_CLASSES.values()})
"""Every reason there is."""


def cause_of(error: BaseException) -> BaseException:
    """The driver's own error behind Peewee's."""
    if isinstance(error, peewee.PeeweeException):
        return getattr(error, "orig", None) or error.__cause__ or error
    return error


def reason_of(error: BaseException) -> str | None:
    """Why the database cannot be used now; None where the error says nothing of the kind."""
    cause = cause_of(error)
    if not isinstance(cause, psycopg.Error):
        return None
    state = cause.sqlstate
    if state is None:
        lost = isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
        return "unreachable" if lost else None
    return _REASONS.get(state) or _CLASSES.get(state[:2])
