"""Typed jobs: what fits a signature, what its annotations make of JSON, and the path of what does
not.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pendulum
import pytest

from kalends.errors import ValidationFailed
from kalends.jobs.codec import decode_arguments, encode_arguments
from kalends.jobs.registry import Registry
from kalends.jobs.typed import Parameters

if TYPE_CHECKING:
    from unknown_at_run_time import Unknown  # type: ignore[import-not-found]  # never imported


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Line:
    price: decimal.Decimal
    count: int


class Order(msgspec.Struct):
    id: uuid.UUID
    lines: list[Line]


WHEN = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
ORDER = Order(uuid.UUID(int=7), [Line(decimal.Decimal("1.50"), 2)])


def through_json(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What ``function`` is called with, once its arguments have been stored and read again."""
    parameters = Parameters(function)
    stored = encode_arguments(*parameters.plain(args, kwargs), 10_000)
    return parameters.typed(*decode_arguments(stored))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 3),
        (float, 2.5),
        (str, "text"),
        (bool, True),
        (dt.datetime, WHEN),
        (dt.date, dt.date(2026, 3, 1)),
        (dt.timedelta, dt.timedelta(seconds=90)),
        (uuid.UUID, uuid.UUID(int=3)),
        (decimal.Decimal, decimal.Decimal("0.1")),
        (bytes, b"\x00\xff"),
        (Color, Color.RED),
        (set[int], {1, 2}),
        (tuple[int, str], (1, "a")),
        (Order, ORDER),
        (dict[str, list[Line]], {"a": [Line(decimal.Decimal(2), 1)]}),
        (Order | None, None),
        (Path, Path("a/b")),
        (list[Path], [Path("a"), Path("b")]),
        (pendulum.DateTime, pendulum.datetime(2026, 3, 1, 12, tz="UTC")),
    ],
)
def test_a_value_comes_back_as_its_annotation_says(kind: Any, value: Any) -> None:
    def job(first: Any, *, second: Any) -> None: ...

    job.__annotations__ = {"first": kind, "second": kind, "return": None}
    args, kwargs = through_json(job, value, second=value)
    assert args == [value]
    assert kwargs == {"second": value}
    assert type(args[0]) is type(value)


def test_json_may_be_given_where_it_can_be_read() -> None:
    def job(when: dt.datetime, order: Order, ratio: float) -> None: ...

    given = {"id": str(ORDER.id), "lines": [{"price": "1.50", "count": 2}]}
    args, kwargs = through_json(job, "2026-03-01T12:00:00Z", order=given, ratio=1)
    assert args == [WHEN]
    assert kwargs == {"order": ORDER, "ratio": 1.0}
    assert type(kwargs["ratio"]) is float


def price(orders: list[Order], tax: Annotated[float, msgspec.Meta(ge=0)] = 0.0) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        (["x"], {}, "args[0]"),
        ([[{"id": str(ORDER.id), "lines": [{"price": "1", "count": "2"}]}]], {},
         "args[0][0].lines[0].count"),
        ([[{"lines": []}]], {}, "args[0][0]"),
        ([[]], {"tax": -1.0}, "kwargs.tax"),
        ([[]], {"tax": "1"}, "kwargs.tax"),
        ([[]], {"tax": True}, "kwargs.tax"),
        ([], {}, "kwargs.orders"),
        ([], {"tax": 1}, "kwargs.orders"),
        ([[], 1.0, 2], {}, "args"),
        ([[]], {"taxes": 1.0}, "kwargs.taxes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_path(
    args: list[Any], kwargs: dict[str, Any], path: str
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        Parameters(price).plain(args, kwargs)
    assert caught.value.details["path"] == path


def test_the_near_name_of_an_argument_is_suggested() -> None:
    with pytest.raises(ValidationFailed, match="did you mean 'tax'"):
        Parameters(price).plain([[]], {"taxx": 1.0})


def test_what_was_stored_under_another_signature_is_refused_with_its_path() -> None:
    with pytest.raises(ValidationFailed, match=r"kwargs.orders\[0\].id: Invalid UUID") as caught:
        Parameters(price).typed([], {"orders": [{"id": "7", "lines": []}]})
    assert caught.value.details["path"] == "kwargs.orders[0].id"


def test_the_rest_of_a_signature_has_a_type_too() -> None:
    def job(*days: dt.date, **counts: int) -> None: ...

    day = dt.date(2026, 3, 1)
    assert through_json(job, day, day, a=1) == ([day, day], {"a": 1})
    for args, kwargs, path in (([1], {}, "args[0]"), ([], {"a": "1"}, "kwargs.a")):
        with pytest.raises(ValidationFailed) as caught:
            Parameters(job).plain(args, kwargs)
        assert caught.value.details["path"] == path


def test_what_no_rule_covers_is_handed_over_as_json_gives_it() -> None:
    class Opaque: ...

    def job(free, opaque: Opaque, missing: Unknown, any_thing: Any, union: str | Path) -> None: ...  # type: ignore[no-untyped-def]  # one without annotation is the point

    values: list[Any] = [{"a": [1]}, "o", "m", [None], "u"]
    assert through_json(job, *values) == (values, {})


def test_what_no_rule_covers_is_still_refused_where_json_cannot_hold_it() -> None:
    class Opaque: ...

    def job(free: object, opaque: Opaque) -> None: ...

    for args, path in (([WHEN, ""], "args[0]"), (["", Opaque()], "args[1]")):
        with pytest.raises(ValidationFailed) as caught:
            encode_arguments(*Parameters(job).plain(args, {}), 10_000)
        assert caught.value.details["path"] == path


class Mailer:
    def send(self, to: list[str], at: dt.datetime) -> None: ...

    def __call__(self, at: dt.datetime) -> None: ...


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    "function",
    [
        Mailer(),
        functools.partial(Mailer().send, ["ada@example.org"]),
        decorated(Mailer()),
        functools.partial(decorated(Mailer().send), ["a"]),
    ],
)
def test_every_callable_has_its_signature(function: Callable[..., Any]) -> None:
    assert through_json(function, at=WHEN) == ([], {"at": WHEN})
    with pytest.raises(ValidationFailed):
        Parameters(function).plain([], {"when": 1})


def test_a_callable_without_a_signature_takes_what_it_is_given() -> None:
    assert through_json(max, 1, 2, key=None) == ([1, 2], {"key": None})


def test_an_annotation_is_looked_up_when_it_is_needed_and_not_before() -> None:
    registry = Registry()
    registry.register(early, "early")
    assert registry.get("early").parameters.typed(["2026-01-01"], {}) == ([Later(2026, 1, 1)], {})


def early(when: Later) -> None: ...


Later = dt.date


# -- keys, and code of the annotated types' own --------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (dict[int, str], {1: "a", -2: "b"}),
        (dict[dt.date, int], {dt.date(2026, 3, 1): 1}),
        (dict[uuid.UUID, int], {uuid.UUID(int=3): 1}),
        (dict[str, dict[int, Color]], {"a": {1: Color.RED}}),
    ],
)
def test_keys_come_back_as_their_annotation_says(kind: Any, value: Any) -> None:
    def job(first: Any) -> None: ...

    job.__annotations__ = {"first": kind, "return": None}
    assert through_json(job, value) == ([value], {})


@pytest.mark.parametrize(
    ("kind", "value", "message", "path"),
    [
        (dict[int, str], {"x": "a"}, "a key of args[0]: Expected `int`, got `str`", "args[0]"),
        (list[dict[int, str]], [{}, {"x": "a"}],
         "a key of args[0][1]: Expected `int`, got `str`", "args[0][1]"),
        (dict[int, str], {1: 2}, "args[0][...]: Expected `str`, got `int`", "args[0][...]"),
    ],
)  # fmt: skip
def test_a_key_or_value_that_does_not_fit_is_refused_in_our_words(
    kind: Any, value: Any, message: str, path: str
) -> None:
    def job(first: Any) -> None: ...

    job.__annotations__ = {"first": kind, "return": None}
    with pytest.raises(ValidationFailed) as caught:
        Parameters(job).plain([value], {})
    assert (caught.value.message, caught.value.details["path"]) == (message, path)


@dataclasses.dataclass
class Touchy:
    x: int

    def __post_init__(self) -> None:
        raise {
            1: RuntimeError("boom"),
            2: KeyError("k"),
            3: ValueError("bad"),
            4: SystemExit("gone"),
        }[self.x]


def touchy(*, value: Touchy) -> None: ...


@pytest.mark.parametrize(
    ("x", "says"), [(1, "RuntimeError: boom"), (2, "KeyError"), (3, "bad"), (4, "gone")]
)
def test_what_a_type_s_own_code_raises_is_refused_with_its_path_then_and_later(
    x: int, says: str
) -> None:
    for check in (Parameters(touchy).plain, Parameters(touchy).typed):
        with pytest.raises(ValidationFailed, match=rf"kwargs.value: .*{says}") as caught:
            check([], {"value": {"x": x}})
        assert caught.value.details["path"] == "kwargs.value"


def test_a_lone_surrogate_is_no_number_and_the_refusal_says_where() -> None:
    def job(first: int) -> None: ...

    with pytest.raises(ValidationFailed, match=r"args\[0\] has a lone surrogate"):
        through_json(job, "\ud800")
