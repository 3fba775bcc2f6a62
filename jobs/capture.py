"""What a job logs through ``current().log``, on its way to the host and into the ledger: without
secrets.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Collection, MutableMapping
from typing import Any

from kalends.jobs.codec import type_name
from kalends.jobs.logbook import Logbook
from kalends.redaction import Redactor
from kalends.validation import shown

__all__ = ["capturing"]

_OWN = ("event", "exc_info", "stack_info", "positional_args")
"""Keys of an event that are not shown as such."""
_MESSAGE = ("event", "positional_args")
_FRAMES = 20
"""How many frames of a traceback go with a line: the innermost."""


def capturing(
    book: Callable[[], Logbook], bound: Collection[str]
) -> Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]:
    """A structlog processor that leaves secrets out of each event, and writes it down without the
    keys that all of them have.

    Objects that are no plain values are handed on as they are; what is written down of them is
    redacted. No ``Exception`` of the methods of what is logged gets out of it. What is none does,
    as from any other line of the job: it is being stopped, or wants to end.
    """

    def capture(
        _logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        here = book()
        message = _message(event)
        event = _redacted(event, message, here.redactor)
        here.line("error" if method == "exception" else method, _text(event, message, bound))
        return event

    return capture


def _message(event: MutableMapping[str, Any]) -> str:
    """The event's name, with its positional arguments in their places."""
    name, args = event.get("event", ""), event.get("positional_args", ())
    try:
        return str(name) % args if args else str(name)
    except Exception:  # noqa: BLE001 - the job's own values, with methods of their own
        return shown(name)


def _redacted(
    event: MutableMapping[str, Any], message: str, redactor: Redactor
) -> MutableMapping[str, Any]:
    """The event without secrets. A message that holds one has its arguments in their places."""
    words = {key: event[key] for key in _MESSAGE if key in event}
    rest = {key: value for key, value in event.items() if key not in _MESSAGE}
    shown, found = redactor.text(message), redactor.value(rest)
    if shown == message and found is rest:
        return event
    return {**found, **(words if shown == message else {"event": shown})}


def _text(event: MutableMapping[str, Any], message: str, bound: Collection[str]) -> str:
    """The event's message with its keys, and what was raised."""
    keys = [
        f"{key}={shown(value)}"
        for key, value in event.items()
        if key not in bound and key not in _OWN
    ]
    return " ".join([message, *keys]) + _raised(event.get("exc_info"))


def _raised(exc_info: Any) -> str:
    error = sys.exception() if exc_info is True else exc_info
    if isinstance(error, tuple) and len(error) == 3:
        error = error[1]
    if not isinstance(error, BaseException):
        return ""
    try:
        return "\n" + "".join(traceback.format_exception(error, limit=-_FRAMES)).rstrip()
    except Exception:  # noqa: BLE001 - the exception is the job's own, too
        return f"\n{type_name(error)}"
