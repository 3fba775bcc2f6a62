"""An answer as a value, for hosts that branch on codes instead of catching exceptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
import pykka

from kalends.errors import KalendsError, ValidationFailed

__all__ = ["Result"]

T = TypeVar("T")


class Result(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A value, or a refusal with its stable ``code``, ``message`` and ``details``."""

    ok: bool
    value: T | None = None
    code: str | None = None
    """The upper-case code of the refusal, such as ``EVENT_NOT_FOUND``; None where ``ok``."""
    message: str | None = None
    details: dict[str, Any] = {}

    @classmethod
    def capture(
        cls, source: pykka.Future[T] | Callable[[], T], timeout: float | None = None
    ) -> Result[T]:
        """Wait for a future (up to ``timeout`` seconds, else its own), or call a function without
        arguments.

        A ``KalendsError`` becomes a result that is not ok: refusals, time-outs and crashed actors
        alike. Any other exception is a bug in the function that was called, and is raised.
        """
        if not isinstance(source, pykka.Future) and not callable(source):
            raise ValidationFailed(
                f"capture takes a future or a function, not {type(source).__name__}", path="source"
            )
        try:
            value = source.get(timeout=timeout) if isinstance(source, pykka.Future) else source()
        except KalendsError as error:
            return cls(ok=False, code=error.code, message=error.message, details=error.details)
        return cls(ok=True, value=value)
