"""Arguments and results as JSON, failures as text: nothing else of a job's is ever stored.

Promises: arguments come back exactly as they were given (a tuple as a list), or are refused with
the path of the offending value; the size limit holds before anything large is built. A result never
raises, whatever object it is: it is stored, or a note says why not. A failure becomes bounded,
storable text and keeps no object alive.

The walk goes level by level and counts as it goes, so neither cycles nor lists that hold one
another many times over can make it run long or deep.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from kalends.errors import PayloadTooLarge, ValidationFailed
from kalends.redaction import LOOKED_AT, Redactor

__all__ = ["MAX_DEPTH", "decode_arguments", "encode_arguments", "encode_result", "kept", "said"]

MAX_DEPTH = 64
"""How deep lists and dicts may nest."""

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_FIELDS_TEXT_LIMIT = 200


class _Arguments(msgspec.Struct, forbid_unknown_fields=True):
    args: list[Any]
    kwargs: dict[str, Any]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Arguments)
_NOTHING = '{"args":[],"kwargs":{}}'


# -- arguments ---------------------------------------------------------------------------------


def encode_arguments(args: object, kwargs: object, limit_bytes: int) -> str:
    """``{"args": [...], "kwargs": {...}}`` as JSON text.

    Takes None, bool, int of 64 bits (signed), finite float, str, list, tuple and dict with str
    keys, of exactly these types. Raises ``ValidationFailed`` with ``path`` (as
    ``kwargs.when[2].x``) and a hint for anything else, ``PayloadTooLarge`` with ``size`` and
    ``limit``.
    """
    if type(args) not in (list, tuple):
        raise _refusal("args", f"must be a list or tuple, not {type_name(args)}")
    if type(kwargs) is not dict:
        raise _refusal("kwargs", f"must be a dict, not {type_name(kwargs)}")
    if not args and not kwargs:
        return _NOTHING
    size = _walk((args, kwargs), limit_bytes)
    if size > limit_bytes:
        raise _too_large(f"more than {limit_bytes}", size, limit_bytes)
    if size < 0:
        raise _find_fault({"args": args, "kwargs": kwargs})
    try:
        encoded = _encoder.encode({"args": args, "kwargs": kwargs})
    except UnicodeEncodeError:
        raise _find_fault({"args": args, "kwargs": kwargs}) from None
    except (TypeError, RuntimeError, ValueError, RecursionError) as error:
        # Plain values encode; somebody changed them meanwhile.
        raise _refusal(
            "arguments", f"changed while they were read ({type(error).__name__})"
        ) from None
    if len(encoded) > limit_bytes:
        raise _too_large(str(len(encoded)), len(encoded), limit_bytes)
    return encoded.decode()


def decode_arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    """The args and kwargs of a stored text. Raises ``ValidationFailed`` where it is not what was
    stored.
    """
    if text == _NOTHING:
        return [], {}
    try:
        stored = _decoder.decode(text)
    except (msgspec.DecodeError, TypeError, ValueError, RecursionError) as error:
        raise ValidationFailed(
            f"the stored arguments cannot be read: {clip(str(error), _FIELDS_TEXT_LIMIT)}",
            path="arguments",
        ) from None
    return stored.args, stored.kwargs


def _too_large(said: str, size: int, limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the arguments take {said} bytes of JSON, the limit is {limit}; store large data elsewhere"
        " and pass where it is",
        path="arguments",
        size=size,
        limit=limit,
    )


def _refusal(path: str, what: str) -> ValidationFailed:
    return ValidationFailed(f"{path} {what}", path=path)


# -- the walk ----------------------------------------------------------------------------------


def _walk(values: Any, limit: int) -> int:  # noqa: C901, PLR0912 - flat, because it is hot
    """A lower bound of the JSON size of plain values, or -1 where something is not plain or too
    deep.

    Ends as soon as the bound passes ``limit``.
    """
    size = 0
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for value in values:
            kind = type(value)
            if kind is str:
                size += len(value)
            elif kind is dict:
                for key in value:
                    if type(key) is not str:
                        return -1
                    size += len(key)
                below.extend(value.values())
            elif kind is list or kind is tuple:
                below.extend(value)
            elif kind is int:
                if not _MIN_INT <= value <= _MAX_INT:
                    return -1
            elif kind is float:
                if not math.isfinite(value):
                    return -1
            elif value is not None and kind is not bool:
                return -1
        size += len(below)
        if size > limit or not below:
            return size
        values = below
    return -1


class _Place:
    """A value with the way that leads to it."""

    __slots__ = ("above", "step", "value")

    def __init__(self, value: Any, step: str, above: _Place | None) -> None:
        self.value = value
        self.step = step
        self.above = above

    def path(self) -> str:
        steps: list[str] = []
        place: _Place | None = self
        while place is not None:
            steps.append(place.step)
            place = place.above
        return "".join(reversed(steps)).lstrip(".")

    def cycle(self) -> _Place | None:
        """The innermost place above that holds the very same object, or None."""
        place = self.above
        while place is not None:
            if place.value is self.value:
                return place
            place = place.above
        return None


def _find_fault(values: dict[str, Any]) -> ValidationFailed:
    """Walk again, now with paths, and say what is wrong first."""
    level = [_Place(value, f".{name}", None) for name, value in values.items()]
    for _ in range(MAX_DEPTH + 1):
        below: list[_Place] = []
        for place in level:
            what = _fault(place.value)
            if what is not None:
                return _refusal(place.path(), what)
            below.extend(_children(place))
        level = below
    for place in level:
        above = place.cycle()
        if above is not None:
            return _refusal(above.path(), "contains itself; pass a tree of values")
    deep = level[0].path() if level else "arguments"
    return _refusal(deep, f"lies deeper than {MAX_DEPTH} levels; pass a flatter value")


def _children(place: _Place) -> list[_Place]:
    value = place.value
    if type(value) is dict:
        return [_Place(item, _step(key), place) for key, item in list(value.items())]
    if type(value) in (list, tuple):
        return [_Place(item, f"[{index}]", place) for index, item in enumerate(list(value))]
    return []


def _step(key: str) -> str:
    return f".{key}" if key.isidentifier() and len(key) <= 60 else f"[{clip(repr(key), 60)}]"


def _fault(value: Any) -> str | None:
    """What is wrong with this value itself, or None."""
    kind = type(value)
    if value is None or kind in (bool, list, tuple):
        return None
    if kind is str:
        return None if _encodable(value) else "has a lone surrogate, which is not text"
    if kind is int:
        return None if _MIN_INT <= value <= _MAX_INT else "does not fit 64 bits; pass it as str"
    if kind is float:
        return None if math.isfinite(value) else f"is {value}, which JSON cannot hold"
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return f"has a key of type {type_name(key)}; keys must be str"
            if not _encodable(key):
                return "has a key with a lone surrogate, which is not text"
        return None
    return f"is of type {type_name(value)}, which is not stored; {_hint(value)}"


_HINTS = {
    "datetime": "pass .isoformat()",
    "date": "pass .isoformat()",
    "time": "pass .isoformat()",
    "timedelta": "pass .total_seconds()",
    "Decimal": "pass str(value)",
    "UUID": "pass str(value)",
    "bytes": "pass it in base64 or hex, or as the path of a file",
    "set": "pass list(value)",
    "frozenset": "pass list(value)",
}


def _hint(value: object) -> str:
    kind = type(value)
    if "Enum" in [base.__name__ for base in kind.__mro__]:
        return "pass its .value"
    for plain in (str, int, float, dict, list, tuple):
        if issubclass(kind, plain):
            return f"pass plain {plain.__name__}(value)"
    for base in kind.__mro__:
        if base.__name__ in _HINTS:
            return _HINTS[base.__name__]
    return "pass None, bool, int, float, str, list or dict"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- results -----------------------------------------------------------------------------------


def encode_result(
    value: object, limit_bytes: int, redactor: Redactor
) -> tuple[str | None, str | None]:
    """``(json, note)``: the result as JSON text without secrets, or None and why it cannot be
    stored. Never raises.

    Beside plain values: dataclasses, msgspec structs, datetimes, UUIDs, Decimals, sets, enums and
    bytes (base64), as ``msgspec.to_builtins`` writes them. ``(None, None)`` for None, which is no
    result.
    """
    if value is None:
        return None, None
    try:
        return _encode_result(value, limit_bytes, redactor)
    except BaseException as error:  # noqa: BLE001 - the job is over: its result must not undo that
        return None, _unstorable(value, error, redactor)


def _encode_result(value: object, limit: int, redactor: Redactor) -> tuple[str | None, str | None]:
    size = _walk((value,), limit)
    if size < 0:
        value = msgspec.to_builtins(value, str_keys=True)
        size = _walk((value,), limit)
    if size > limit:
        return None, f"result of more than {size - 1} bytes exceeds the limit of {limit} bytes"
    if size < 0:
        raise _find_fault({"result": value})
    encoded = _encoder.encode(value)
    if len(encoded) <= limit:  # what is redacted may take more
        encoded = redactor.json(encoded.decode()).encode()
    if len(encoded) > limit:
        return None, f"result of {len(encoded)} bytes exceeds the limit of {limit} bytes"
    return encoded.decode(), None


def _unstorable(value: object, error: BaseException, redactor: Redactor) -> str:
    try:
        if isinstance(error, ValidationFailed):
            reason = error.message
        elif isinstance(error, UnicodeEncodeError):
            reason = "it has a lone surrogate, which is not text"
        else:
            reason = f"{type_name(error)}: {error}" if str(error) else type_name(error)
        return f"result of type {type_name(value)} cannot be stored: {kept(reason, 500, redactor)}"
    except BaseException:  # noqa: BLE001 - an object so hostile that not even its refusal has words
        return "result cannot be stored"


# -- text --------------------------------------------------------------------------------------


def type_name(value: object) -> str:
    """The qualified name of a value's type, storable and short; never raises."""
    try:
        kind = type(value)
        module, name = kind.__module__, kind.__qualname__
        shown = name if module == "builtins" else f"{module}.{name}"
        return clip(storable(shown), _FIELDS_TEXT_LIMIT)
    except BaseException:  # noqa: BLE001 - a metaclass may answer anything
        return "an unnamed type"


def said(error: BaseException) -> str:
    """The type and message of an exception, storable and short; for a message of ours."""
    try:
        words = str.__str__(str(error))
    except Exception as trouble:  # noqa: BLE001 - __str__ is somebody else's code
        words = f"(its message cannot be read: {type_name(trouble)})"
    name = type_name(error)
    return f"{name}: {clip(storable(clip(words, 600)), 300)}" if words else name


def storable(text: str) -> str:
    """The text with what databases refuse (lone surrogates, NUL) written as escapes."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\x00", "\\x00") if "\x00" in text else text


def kept(text: str, limit: int, redactor: Redactor) -> str:
    """The text as it is kept: without secrets, storable, and clipped to ``limit`` characters."""
    # Clipped first, so that it is quick, and far away from where it is clipped in the end: a secret
    # that were cut there would not be recognised.
    redacted = redactor.text(clip(text, max(LOOKED_AT, 4 * limit)))
    return clip(storable(clip(redacted, 2 * limit)), limit)


def clip(text: str, limit: int) -> str:
    """The text, or its head and tail with what was left out between, in at most ``limit``
    characters.
    """
    if len(text) <= limit:
        return text
    mark = f"\n... {len(text) - limit} characters left out ...\n" if limit >= 200 else "..."
    if limit <= len(mark):
        return text[: max(0, limit)]
    head = (limit - len(mark) + 1) // 2
    return text[:head] + mark + text[len(text) - (limit - len(mark) - head) :]
