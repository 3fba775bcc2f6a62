"""Arguments exact or refused with their path; results never raise; both bounded."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import sys
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.errors import PayloadTooLarge, ValidationFailed
from kalends.jobs.codec import (
    MAX_DEPTH,
    clip,
    decode_arguments,
    encode_arguments,
    encode_result,
    storable,
)
from kalends.redaction import SECRET_KEYS, redactor_of

LIMIT = 65_536
REDACTOR = redactor_of(SECRET_KEYS)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


# -- round trips ---------------------------------------------------------------------------------

plain_text = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | plain_text,
    lambda inner: st.lists(inner) | st.dictionaries(plain_text, inner),
    max_leaves=20,
)


@given(st.lists(plain), st.dictionaries(plain_text, plain))
def test_plain_arguments_come_back_exactly(args: list[Any], kwargs: dict[str, Any]) -> None:
    text = encode_arguments(args, kwargs, 10**9)
    back = decode_arguments(text)
    assert back == (args, kwargs)
    assert repr(back) == repr((args, kwargs))
    assert json.loads(text) == {"args": args, "kwargs": kwargs}
    text.encode()


def test_a_tuple_comes_back_as_a_list() -> None:
    assert decode_arguments(encode_arguments((1, (2, 3)), {}, LIMIT)) == ([1, [2, 3]], {})


# -- refusals ------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(9)


refusals: list[tuple[Any, Any, str, str]] = [
    ([], {"when": [1, 2, {"x": {1}}]}, "kwargs.when[2].x", "list(value)"),
    ([1, math.nan], {}, "args[1]", "nan"),
    ([math.inf], {}, "args[0]", "inf"),
    ([2**63], {}, "args[0]", "64 bits"),
    ([-(2**63) - 1], {}, "args[0]", "64 bits"),
    (["a\ud800"], {}, "args[0]", "surrogate"),
    ([], {"k\udfff": 1}, "kwargs", "surrogate"),
    ([], {"a": {1: 2}}, "kwargs.a", "keys must be str"),
    ([], {1: 2}, "kwargs", "keys must be str"),
    ([], {"a b": object()}, "kwargs['a b']", "object"),
    ([dt.datetime(2027, 1, 1, tzinfo=dt.UTC)], {}, "args[0]", "isoformat"),
    ([dt.date(2027, 1, 1)], {}, "args[0]", "isoformat"),
    ([decimal.Decimal(1)], {}, "args[0]", "str(value)"),
    ([b"x"], {}, "args[0]", "base64"),
    ([Colour.RED], {}, "args[0]", ".value"),
    ([Level.LOW], {}, "args[0]", ".value"),
    ([OrderedDict(a=1)], {}, "args[0]", "dict(value)"),
    ([type("Str", (str,), {})("x")], {}, "args[0]", "str(value)"),
    ([Hostile()], {}, "args[0]", "Hostile"),
    ([nested(MAX_DEPTH)], {}, "args", "deeper than"),
    ("ab", {}, "args", "list or tuple"),
    (None, {}, "args", "list or tuple"),
    ([], [("a", 1)], "kwargs", "dict"),
    ([], None, "kwargs", "dict"),
]


@pytest.mark.parametrize(("args", "kwargs", "path", "hint"), refusals, ids=range(len(refusals)))
def test_what_cannot_be_stored_is_refused_with_its_path_and_a_hint(
    args: Any, kwargs: Any, path: str, hint: str
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        encode_arguments(args, kwargs, LIMIT)
    assert refused.value.details["path"].startswith(path)
    assert hint in refused.value.message
    str(refused.value).encode()


def test_the_deepest_allowed_nesting_is_stored() -> None:
    value = nested(MAX_DEPTH - 1)
    assert decode_arguments(encode_arguments([value], {}, LIMIT)) == ([value], {})


def test_a_value_that_contains_itself_is_refused_as_such() -> None:
    loop: dict[str, Any] = {"a": [1]}
    loop["a"].append(loop)
    with pytest.raises(ValidationFailed, match="contains itself"):
        encode_arguments([], {"x": loop}, LIMIT)


def test_arguments_over_the_limit_are_refused_with_size_and_limit() -> None:
    with pytest.raises(PayloadTooLarge) as refused:
        encode_arguments(["é" * 60], {}, 100)
    assert refused.value.details == {"path": "arguments", "size": 145, "limit": 100}
    exact = len(encode_arguments(["x"], {}, LIMIT))
    encode_arguments(["x"], {}, exact)
    with pytest.raises(PayloadTooLarge):
        encode_arguments(["x"], {}, exact - 1)


def test_lists_that_hold_one_another_many_times_are_refused_at_once() -> None:
    bomb: list[Any] = []
    for _ in range(60):
        bomb = [bomb, bomb]
    with pytest.raises(PayloadTooLarge):
        encode_arguments([bomb], {}, LIMIT)
    text = "x" * 60_000
    with pytest.raises(PayloadTooLarge):
        encode_arguments([[text] * 10_000], {}, LIMIT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"args":[]}',
        '{"args":{},"kwargs":{}}',
        '{"args":[],"kwargs":{},"more":1}',
        '{"args":[1e999],"kwargs":{}}',
        '{"args":[' + "[" * 100_000,
        None,
        b"\xff",
        7,
    ],
)
def test_a_stored_text_that_is_no_argument_list_is_refused(text: Any) -> None:
    with pytest.raises(ValidationFailed):
        decode_arguments(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        decode_arguments(text)
    except ValidationFailed as error:
        str(error).encode("utf-8", "surrogatepass")


# -- results -------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: int
    seen: dt.datetime


class Shape(msgspec.Struct):
    points: list[Point]
    id: uuid.UUID


def test_results_of_the_usual_types_are_stored() -> None:
    at = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    shape = Shape([Point(1, at)], uuid.UUID(int=1))
    text, note = encode_result(
        {"shape": shape, "sum": decimal.Decimal("1.5"), 3: {4}}, LIMIT, REDACTOR
    )
    assert note is None
    assert text is not None
    assert json.loads(text) == {
        "shape": {
            "points": [{"x": 1, "seen": "2027-01-01T00:00:00Z"}],
            "id": "00000000-0000-0000-0000-000000000001",
        },
        "sum": "1.5",
        "3": [4],
    }


@given(plain.filter(lambda value: value is not None))
def test_plain_results_come_back_exactly(value: Any) -> None:
    text, note = encode_result(value, 10**9, REDACTOR)
    assert note is None
    assert text is not None
    assert repr(msgspec.json.decode(text)) == repr(value)


def test_none_is_no_result() -> None:
    assert encode_result(None, LIMIT, REDACTOR) == (None, None)


@dataclasses.dataclass
class Exits:
    x: int = 1

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(1)


class HostileMeta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise KeyboardInterrupt


def unnameable() -> object:
    class Unnameable(metaclass=HostileMeta):
        pass

    return Unnameable()


def loop() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


# Made inside the test: pytest looks at its parameters, and these do not like to be looked at.
unstorable: dict[str, Callable[[], Any]] = {
    "object": object,
    "function": lambda: len,
    "hostile": Hostile,
    "inside": lambda: [Hostile()],
    "exits": Exits,
    "unnameable": unnameable,
    "loop": loop,
    "loop below": lambda: {"a": loop()},
    "generator": lambda: (each for each in range(3)),
    "nan": lambda: math.nan,
    "infinity": lambda: [math.inf],
    "big int": lambda: 2**63,
    "surrogate": lambda: "\ud800",
    "surrogate key": lambda: {"\ud800": 1},
    "below": lambda: {1.5: object()},
    "deep": lambda: nested(5000),
    "long name": type("x" * 10_000, (), {}),
    "module": lambda: sys,
    "exception": lambda: ValueError("x"),
}


@pytest.mark.parametrize("kind", unstorable)
def test_a_result_that_cannot_be_stored_gives_a_note(kind: str) -> None:
    text, note = encode_result(unstorable[kind](), LIMIT, REDACTOR)
    assert text is None
    assert note is not None
    assert "cannot be stored" in note
    assert len(note) < 1000
    note.encode()


def test_a_result_over_the_limit_gives_a_note_with_both_sizes() -> None:
    assert encode_result("é" * 60, 100, REDACTOR) == (
        None,
        "result of 122 bytes exceeds the limit of 100 bytes",
    )
    text, note = encode_result(["x" * 1000] * 100, 5000, REDACTOR)
    assert text is None
    assert note is not None
    assert note.startswith("result of more than 100099 bytes exceeds the limit of 5000")
    assert encode_result("x" * 98, 100, REDACTOR) == ('"' + "x" * 98 + '"', None)


def test_a_result_that_holds_itself_many_times_over_ends_at_once() -> None:
    bomb: list[Any] = []
    for _ in range(60):
        bomb = [bomb, bomb]
    text, note = encode_result(bomb, LIMIT, REDACTOR)
    assert text is None
    assert note is not None
    assert "exceeds the limit" in note


# -- text ----------------------------------------------------------------------------------------


@given(st.text(), st.integers(0, 400))
def test_clipped_text_fits_and_keeps_head_and_tail(text: str, limit: int) -> None:
    clipped = clip(text * 20, limit)
    assert len(clipped) <= limit or not text
    assert clipped[:1] == (text * 20)[:1] or limit == 0


@given(st.text(st.characters()))
def test_storable_text_has_neither_surrogates_nor_nul(text: str) -> None:
    written = storable(text + "\ud800\x00")
    assert "\x00" not in written
    assert written.encode().decode() == written
    assert storable("plain é") == "plain é"
