"""What every proxy does: one message to one actor, and whatever is refused in the future."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from kalends.actors.runtime import Ref
from kalends.futures import Future, failed
from kalends.messages import Message
from kalends.refusals import refusal_of
from kalends.validation import identifier, note, optional_text

__all__ = ["Proxy", "in_future", "who_of"]

P = ParamSpec("P")
T = TypeVar("T")


def in_future(call: Callable[P, Future[T]]) -> Callable[P, Future[T]]:
    """Put a refusal of the arguments into the future, where all others are."""

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            return call(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  (the arguments' own code may raise anything)
            return failed(refusal_of(call, args, kwargs, error))

    return wrapper


class Proxy:
    """The ref of one actor, from wherever the scheduler keeps it."""

    def __init__(self, ref: Callable[[], Ref[Any]]) -> None:
        self._ref = ref

    def _ask(self, message: Message) -> Future[Any]:
        future: Future[Any] = self._ref().ask(message, block=False)
        return future


def who_of(
    event_id: str, remark: str | None, author: str | None
) -> tuple[str, str | None, str | None]:
    """The event, the note and the author of a change, checked."""
    return identifier(event_id, "event_id"), note(remark, "note"), optional_text(author, "author")
