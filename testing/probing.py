"""A writer that tells a probe of every step of every transaction.

The probe may break the step: raise ``StorageUnavailable`` (or an ``apsw.Error``) to have it fail,
or kill the process there. The steps are those of ``kalends.storage.engine``'s own code.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import peewee

from kalends.storage.dialect import Dialect
from kalends.storage.workers import Unit, Writer

__all__ = ["Probe", "ProbedWriter", "StorageStep"]


class StorageStep(StrEnum):
    """Where in a transaction a probe is asked."""

    BEGIN = "begin"
    """Before the transaction begins: nothing is written yet."""
    UNIT = "unit"
    """Before a unit of work."""
    UNIT_DONE = "unit_done"
    """After a unit of work: what it wrote is not committed."""
    COMMIT = "commit"
    """Before the commit."""
    COMMITTED = "committed"
    """After the commit, before anybody is answered: an error here leaves its outcome unknown."""


Probe = Callable[[StorageStep], None]


class ProbedWriter(Writer):
    """A writer whose steps a probe is told of."""

    def __init__(self, name: str, dialect: Dialect, probe: Probe | None) -> None:
        """``probe``: None where nobody is to be told."""
        super().__init__(name, dialect)
        self._probe = probe

    def begin(self, db: peewee.Database, *, alone: bool) -> None:
        """Begin the transaction of a group."""
        if self._probe is not None:
            self._probe(StorageStep.BEGIN)
        super().begin(db, alone=alone)

    def run_unit(self, db: peewee.Database, unit: Unit[Any]) -> tuple[Any, BaseException | None]:
        """Value and error of one unit."""
        probe = self._probe
        if probe is None:
            return super().run_unit(db, unit)

        def probed(db: peewee.Database) -> Any:
            probe(StorageStep.UNIT)
            value = unit(db)
            probe(StorageStep.UNIT_DONE)
            return value

        return super().run_unit(db, probed)

    def commit(self, db: peewee.Database) -> None:
        """Make it durable."""
        if self._probe is not None:
            self._probe(StorageStep.COMMIT)
        super().commit(db)
        if self._probe is not None:
            self._probe(StorageStep.COMMITTED)
