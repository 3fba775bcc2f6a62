"""Downtime: time in which no process ran the events of a database.

The last sign of life is that of a process that stopped, or the last renewal of the lease of one
that died; it is noted when its node goes. Whoever enters the database as the only one tells how
long nobody was there.
"""

from __future__ import annotations

import peewee

from kalends.clock import US, from_us
from kalends.model import JournalKind
from kalends.storage.facts import fact, put_fact
from kalends.storage.journal import Stamp, note_down

__all__ = ["note_alive", "tell_downtime"]

_KEY = "last_alive"
_SHORTEST = 1 * US
"""A restart that takes no longer is not worth a line."""


def note_alive(db: peewee.Database, at: int) -> None:
    """A process whose node goes was alive at ``at`` (microseconds)."""
    latest = max(at, _last_alive(db) or at)
    put_fact(db, _KEY, str(latest))


def tell_downtime(db: peewee.Database, stamp: Stamp, signs: list[int]) -> None:
    """Nobody is alive: write down since when, by what is noted and by further ``signs`` of life."""
    noted = _last_alive(db)
    since = max([*signs, *([] if noted is None else [noted])], default=stamp.now)
    if stamp.now - since >= _SHORTEST:
        note_down(
            db,
            JournalKind.DOWNTIME,
            stamp,
            None,
            since=from_us(since).isoformat(),
            seconds=(stamp.now - since) / US,
        )


def _last_alive(db: peewee.Database) -> int | None:
    noted = fact(db, _KEY)
    return None if noted is None else int(noted)
