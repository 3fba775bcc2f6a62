"""``JobLogHandler``: what jobs log through the standard library's ``logging``, into the ledger."""

from __future__ import annotations

import logging

from kalends.errors import ValidationFailed
from kalends.jobs.context import logbook_here
from kalends.logs import ROOT

__all__ = ["JobLogHandler"]


class JobLogHandler(logging.Handler):
    """Writes what is logged inside a job down with its execution; everything else passes by.

    For the host to attach where it likes, to the root logger perhaps, with a level and a formatter
    of its choice; Kalends attaches none. It finds the execution by the context variable that
    ``current()`` answers from, so one handler serves all jobs of all schedulers, and a thread that
    a job starts by hand has none. What ``current().log`` logs is written down without it, and
    Kalends' own log lines are not a job's: loggers named ``kalends`` and below are passed over.
    """

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        """Raises ``ValidationFailed`` for a level that ``logging`` does not know."""
        try:
            super().__init__(level)
        except (TypeError, ValueError) as error:
            raise ValidationFailed(
                "level must be one that logging knows, such as 'INFO'", path="level"
            ) from error

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record down."""
        book = logbook_here()
        if book is None or record.name.partition(".")[0] == ROOT:
            return
        try:
            book.line(record.levelname.lower(), self.format(record))
        except Exception:  # noqa: BLE001 - as every handler: what is logged must not fail a job
            self.handleError(record)
