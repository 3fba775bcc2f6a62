"""The ``kalends`` loggers: quiet until the host says where logs go.

A host that has configured structlog gets every event through its own configuration: the event name
and its keys as the event dict. Any other host gets records of the standard library's loggers
``kalends`` and ``kalends.job``: the message is the event name with its keys, ``record.event`` the
name alone, and every key is an attribute of the record (``record.actor``; all of them together in
``record.fields``). A host that has configured neither sees nothing: not a byte goes to its
terminal. Which of the three holds is looked up at every event, so the order of imports does not
matter.

Event names and keys are API, see the table in the documentation.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import MutableMapping
from typing import Any, NoReturn, Protocol, cast

import structlog
from structlog.typing import Processor

__all__ = ["Log", "get_log"]

ROOT = "kalends"


class Log(Protocol):
    """What Kalends itself asks of a logger; keywords are the keys of the event."""

    def bind(self, **keys: Any) -> Log: ...
    def debug(self, event: str, **keys: Any) -> Any: ...
    def info(self, event: str, **keys: Any) -> Any: ...
    def warning(self, event: str, **keys: Any) -> Any: ...
    def error(self, event: str, **keys: Any) -> Any: ...
    def critical(self, event: str, **keys: Any) -> Any: ...
    def exception(self, event: str, **keys: Any) -> Any: ...


def get_log(name: str = ROOT, *first: Processor) -> Log:
    """A structlog logger of this name that goes wherever the host has logs go, each time anew.

    ``first`` are processors that see an event before that.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[*first, _deliver],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    return cast(Log, logger)


def _deliver(logger: logging.Logger, method: str, event_dict: MutableMapping[str, Any]) -> NoReturn:
    """The only processor: hand the event to the host's configuration, and end there.

    What that raises stays here: a thread that others wait for may be the one that logs.
    """
    try:
        if structlog.is_configured():
            host = structlog.get_logger(logger.name)
            fields = {key: value for key, value in event_dict.items() if key != "event"}
            getattr(host, method)(event_dict.get("event", ""), **fields)
        else:
            _to_record(logger, method, dict(event_dict))
    except Exception as error:  # noqa: BLE001  (the host's own processors and handlers)
        with contextlib.suppress(Exception):
            logger.error("log_failed: %s", type(error).__name__)
    raise structlog.DropEvent


def _to_record(logger: logging.Logger, method: str, fields: dict[str, Any]) -> None:
    level = logging.ERROR if method == "exception" else logging.getLevelName(method.upper())
    if not logger.isEnabledFor(level):
        return
    event = str(fields.pop("event", ""))
    exc_info = fields.pop("exc_info", None)
    fields = {**structlog.contextvars.get_contextvars(), **fields}
    shown = " ".join([event, *(f"{key}={value!r}" for key, value in fields.items())])
    extra = {key: value for key, value in fields.items() if key not in _RESERVED}
    logger.log(
        level,
        "%s",
        shown,
        exc_info=exc_info,
        extra={**extra, "event": event, "fields": fields},
        stacklevel=_OUR_FRAMES,
    )


_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What a record calls its own: ``logging`` refuses keys of these names."""

_OUR_FRAMES = 7
"""Frames between the call of a method of ``Log`` and the standard library's own."""

# The standard library's advice to libraries: without it, warnings would go to standard error.
logging.getLogger(ROOT).addHandler(logging.NullHandler())
