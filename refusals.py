"""Wrong arguments as refusals: what a call does not take is a ``ValidationFailed``, not a crash.

``refusing`` is for calls that pass their arguments on: arguments that do not fit the signature are
refused like any other wrong value, with the nearest name for a misspelt one. ``checking`` is for
calls that look at them: there, whatever the caller's own objects raise while they are looked at
(``__iter__``, ``__eq__``, ``__fspath__`` and so on) is the value's fault too. The original error is
the refusal's cause.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from kalends.errors import KalendsError, ValidationFailed, did_you_mean

__all__ = ["checking", "refusal_of", "refusing"]

P = ParamSpec("P")
T = TypeVar("T")


def refusing(call: Callable[P, T]) -> Callable[P, T]:
    """Decorate a call so that arguments it does not take are refused."""

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except TypeError as error:
            refusal = _misfit(call, args, kwargs)
            if refusal is None:
                raise
            raise refusal from error

    return wrapper


def checking(call: Callable[P, T]) -> Callable[P, T]:
    """Decorate a call that examines its arguments, and does nothing else that may fail."""

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except KalendsError:
            raise
        except Exception as error:
            raise refusal_of(call, args, kwargs, error) from error

    return wrapper


def refusal_of(
    call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
) -> KalendsError:
    """What the caller hears when examining these arguments raised ``error``."""
    if isinstance(error, KalendsError):
        return error
    refusal = _misfit(call, args, kwargs) if isinstance(error, TypeError) else None
    if refusal is None:
        refusal = ValidationFailed(
            f"{call.__qualname__}() cannot read its arguments: {type(error).__name__}",
            path="arguments",
        )
    refusal.__cause__ = error
    return refusal


def _misfit(
    call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ValidationFailed | None:
    """Why these arguments do not fit the signature of ``call``, or None where they do."""
    signature = inspect.signature(call)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        known = [name for name in signature.parameters if name != "self"]
        wrong = next((key for key in kwargs if key not in known), None)
        return ValidationFailed(
            f"{call.__qualname__}(): {error}{did_you_mean(wrong, known)}",
            path="arguments" if wrong is None else wrong[:80],
        )
    return None
