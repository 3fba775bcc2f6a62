"""Typed jobs: arguments are checked against the job's signature, and converted to its annotations.

What a job is annotated with is what it is given. At submission ``Parameters.plain`` binds the
arguments to the signature and turns them into JSON values; when the job runs, ``Parameters.typed``
turns these into the annotated types again. Both say where a value does not fit, down to the item
(``kwargs.orders[2].price``). The rules are those of ``msgspec.convert``, strictly: a number is no
text, and a text is no number. The types are those that msgspec knows (plain ones, datetimes, UUIDs,
Decimals, enums, dataclasses, TypedDicts, structs, sets, tuples, ``Annotated`` with
``msgspec.Meta``), ``pathlib.Path`` and ``pendulum.DateTime``.

A parameter without annotation, or with one that none of these rules covers, gets the JSON value as
it is. A callable without a signature (some built-ins) is not checked.
"""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import msgspec
import pendulum

from kalends.errors import ValidationFailed, did_you_mean
from kalends.jobs.codec import clip, said, storable

__all__ = ["Parameters"]

_PLAIN = (Any, object, inspect.Parameter.empty)
"""Annotations that say nothing."""
_AS_THEY_ARE = (str, int, bool)
"""Types whose values are JSON values already."""
_MESSAGE_LIMIT = 300
_PLACE = re.compile(r" - at (?:`(key)` in )?`\$(.*)`\Z", re.DOTALL)
"""How msgspec says where: "at `$.orders[2]`", or "at `key` in `$.orders`"."""


class Parameters:
    """What one callable takes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._signature = _signature_of(function)
        hints = {} if self._signature is None else _hints_of(function, self._signature)
        self._positional: list[Any] = []
        self._named: dict[str, Any] = {}
        self._rest: Any = None
        self._more: Any = None
        self._takes_more = False
        for name, parameter in (self._signature.parameters if self._signature else {}).items():
            hint = hints.get(name)
            if parameter.kind is parameter.VAR_POSITIONAL:
                self._rest = hint
            elif parameter.kind is parameter.VAR_KEYWORD:
                self._more, self._takes_more = hint, True
            else:
                if parameter.kind is not parameter.KEYWORD_ONLY:
                    self._positional.append(hint)
                if parameter.kind is not parameter.POSITIONAL_ONLY:
                    self._named[name] = hint
        self._required = _required(self._signature)
        self._typed = any(
            hint is not None
            for hint in (*self._positional, *self._named.values(), self._rest, self._more)
        )

    def plain(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments as values that JSON can hold, where the annotations say how.

        Raises ``ValidationFailed`` where they do not fit the signature, or a value its annotation.
        """
        self._bind(args, kwargs)
        if not self._typed:
            return list(args), dict(kwargs)
        return self._each(_to_plain, args, kwargs)

    def typed(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments that came from JSON as the annotations want them.

        Raises ``ValidationFailed`` with the path of the value that does not fit.
        """
        if not self._typed or not (args or kwargs):
            return args, kwargs
        return self._each(_convert, args, kwargs)

    def _each(
        self,
        change: Callable[[Any, Any, str], Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> tuple[list[Any], dict[str, Any]]:
        known = len(self._positional)
        hints = [self._positional[at] if at < known else self._rest for at in range(len(args))]
        return [
            value if hint is None else change(value, hint, f"args[{at}]")
            for at, (value, hint) in enumerate(zip(args, hints, strict=True))
        ], {
            name: value if hint is None else change(value, hint, f"kwargs.{name}")
            for name, value in kwargs.items()
            for hint in (self._named.get(name, self._more),)
        }

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse arguments that the callable cannot be called with."""
        if self._signature is None:
            return
        for name in kwargs:
            if name not in self._named and not self._takes_more:
                raise ValidationFailed(
                    f"the job takes no argument {clip(repr(name), 80)}"
                    f"{did_you_mean(name, self._named)}",
                    path=f"kwargs.{clip(storable(str(name)), 80)}",
                )
        if not args and self._required is not None and self._required <= kwargs.keys():
            return  # all by name, and all known: nothing is left that could be in the way
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            lacking = self._lacking(len(args), kwargs)
            raise ValidationFailed(
                f"the arguments do not fit the job: {error}",
                path="args" if lacking is None else f"kwargs.{lacking}",
            ) from None

    def _lacking(self, given: int, kwargs: Mapping[str, Any]) -> str | None:
        """The first parameter that needs a value and has none."""
        assert self._signature is not None, "only what has a signature is bound"
        for place, (name, parameter) in enumerate(self._signature.parameters.items()):
            filled = name in kwargs or (parameter.kind != parameter.KEYWORD_ONLY and place < given)
            variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if parameter.default is parameter.empty and not filled and not variadic:
                return name
        return None


# -- values ------------------------------------------------------------------------------------


def _to_plain(value: Any, hint: Any, path: str) -> Any:
    if type(value) is hint and hint in _AS_THEY_ARE:
        return value
    try:
        plain = msgspec.to_builtins(value, enc_hook=_plain_of, str_keys=True)
    except Exception:  # noqa: BLE001 - not to be stored: the check of what is says so, with a hint
        return value
    _convert(plain, hint, path)
    return plain


def _plain_of(value: Any) -> Any:
    """Values that msgspec does not know, as JSON."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise NotImplementedError


def _convert(value: Any, hint: Any, path: str) -> Any:
    """``value`` as the annotation wants it; as it is, where no rule covers the annotation."""
    try:
        return msgspec.convert(value, hint, dec_hook=_rich_of, str_keys=True)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), path) from None
    except (NotImplementedError, TypeError, RecursionError):
        return value
    except UnicodeError:
        return value  # no text: the check of what can be stored says where
    except (Exception, SystemExit) as error:  # what the annotated type's own code raised
        raise _misfit(said(error), path) from error


def _misfit(message: str, path: str) -> ValidationFailed:
    """What msgspec says of the value at ``path``, with the whole way to what is wrong in it."""
    found = _PLACE.search(message)
    key, inside = (None, "") if found is None else found.groups()
    what = message if found is None else message[: found.start()]
    at = clip(storable(path + inside), 200)
    where = f"a key of {at}" if key else at
    return ValidationFailed(f"{where}: {clip(storable(what), _MESSAGE_LIMIT)}", path=at)


def _rich_of(kind: type, value: Any) -> Any:
    """Values of types that msgspec does not know, from JSON."""
    if kind in (Path, PurePath):
        return kind(value)
    if kind is pendulum.DateTime:
        return pendulum.instance(msgspec.convert(value, dt.datetime))
    raise NotImplementedError


# -- signatures --------------------------------------------------------------------------------


def _signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _required(signature: inspect.Signature | None) -> frozenset[str] | None:
    """What has to be given by name where nothing is given by place; None where that cannot be."""
    names = set()
    for name, parameter in (signature.parameters if signature else {}).items():
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not variadic:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                return None
            names.add(name)
    return frozenset(names)


def _hints_of(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """The annotations that say something and can be had, by parameter."""
    home = _annotated(function)
    names = getattr(home, "__globals__", None) or vars(inspect.getmodule(home) or object)
    hints = {}
    for name, parameter in signature.parameters.items():
        hint = _resolved(parameter.annotation, names)
        if not any(hint is plain for plain in _PLAIN) and hint is not None:
            hints[name] = hint
    return hints


def _annotated(function: Any) -> Any:
    """The function in whose module the annotations were written."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(function, type) or inspect.isroutine(function):
            return function
        else:
            return type(function).__call__


def _resolved(annotation: Any, names: Mapping[str, Any]) -> Any:
    """An annotation as a type; None where a name in it cannot be found."""

    def bearer() -> None: ...

    bearer.__annotations__ = {"value": annotation}
    try:
        return typing.get_type_hints(bearer, globalns=dict(names), include_extras=True)["value"]
    except Exception:  # noqa: BLE001 - a name that only type checkers know, or any code at all
        return None
