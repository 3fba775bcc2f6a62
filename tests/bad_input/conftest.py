"""Everything that nobody should hand to a scheduler, and what a refusal has to be like."""

from __future__ import annotations

import datetime as dt
import decimal
import pickle
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import apsw
import msgspec
import pendulum
import pytest

from kalends import (
    Fate,
    KalendsError,
    Registry,
    Scheduler,
    Trigger,
    every,
    once,
)
from kalends.testing import ManualClock

START = pendulum.datetime(2027, 1, 1, tz="UTC")


class Spiteful(Exception):
    """What hostile objects raise: nothing that anybody could be waiting for."""


def _spite(*_: object, **__: object) -> Any:
    raise Spiteful


class Hostile:
    __repr__ = __str__ = __eq__ = __hash__ = __len__ = __iter__ = __bool__ = _spite
    __fspath__ = __int__ = __index__ = __float__ = __getitem__ = __call__ = _spite


class HostileText(str):
    __slots__ = ()
    __repr__ = __str__ = __eq__ = __hash__ = __len__ = isprintable = strip = lower = _spite


class HostileInt(int):
    __repr__ = __str__ = __eq__ = __hash__ = __le__ = __ge__ = __lt__ = __gt__ = _spite


class HostileFloat(float):
    __repr__ = __str__ = __eq__ = __hash__ = __le__ = __ge__ = __lt__ = __gt__ = _spite


class HostileDict(dict[str, Any]):
    __repr__ = __eq__ = __iter__ = keys = items = values = get = __getitem__ = _spite


class HostileList(list[Any]):
    __repr__ = __eq__ = __iter__ = __len__ = __getitem__ = _spite


class HostileMapping(Mapping[str, Any]):
    __getitem__ = __iter__ = __len__ = _spite


class EqualToAll:
    def __eq__(self, _: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class HostileZone(dt.tzinfo):
    utcoffset = tzname = dst = _spite


class HostileRule(Trigger):
    next_us = previous_us = count_us = describe = to_json = _key = _spite


class ForeignRule(Trigger):
    """Well behaved, but nothing that a database could give back."""

    def next_us(self, after_us: int) -> int | None:
        return after_us + 1

    def previous_us(self, before_us: int) -> int | None:
        return before_us - 1

    def count_us(self, a: int, b: int) -> int:
        return b - a

    def describe(self) -> str:
        return "always"

    def to_json(self) -> dict[str, Any]:
        return every(seconds=1).to_json()

    def _key(self) -> tuple[object, ...]:
        return ()


def _spiteful_items() -> Iterator[Any]:
    yield {"job": "tick", "trigger": every(seconds=1)}
    raise Spiteful


def _cyclic() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


def _deep() -> list[Any]:
    items: list[Any] = []
    for _ in range(5000):
        items = [items]
    return items


JUNK: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "true": lambda: True,
    "zero": lambda: 0,
    "minus one": lambda: -1,
    "int64": lambda: 2**63,
    "huge": lambda: 10**400,
    "unprintable int": lambda: 10**5000,
    "float": lambda: 0.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "decimal": lambda: decimal.Decimal("NaN"),
    "bytes": lambda: b"tick",
    "empty": lambda: "",
    "blank": lambda: "  ",
    "nul": lambda: "a\0b",
    "surrogate": lambda: "a\ud800b",
    "long": lambda: "x" * 300_000,
    "bell": lambda: "\a",
    "sql": lambda: "'; DROP TABLE events; --",
    "near": lambda: "activ",
    "uuid4": lambda: str(uuid.UUID(int=2**127 + 5, version=4)),
    "uuid": lambda: uuid.UUID(int=7),
    "strange id": lambda: "01890a5d-ac96-774b-bcce-b302099a8057",
    "loud id": lambda: "01890A5D-AC96-774B-BCCE-B302099A8057",
    "braced id": lambda: "{01890a5d-ac96-774b-bcce-b302099a8057}",
    "list": lambda: ["a", 1, None],
    "dict": lambda: {"a": 1},
    "odd dict": lambda: {1: 2, None: 3},
    "set": lambda: {1, "a"},
    "cyclic": _cyclic,
    "deep": _deep,
    "object": object,
    "class": lambda: dict,
    "function": lambda: lambda: None,
    "generator": _spiteful_items,
    "naive": lambda: dt.datetime(2027, 1, 1),  # noqa: DTZ001  (that it is naive is the point)
    "date": lambda: dt.date(2027, 1, 1),
    "hostile zone": lambda: dt.datetime(2027, 1, 1, tzinfo=HostileZone()),
    "fate": lambda: Fate.FAILED,
    "mock": mock.MagicMock,
    "mock text": lambda: mock.Mock(spec=str),
    "mock int": lambda: mock.Mock(spec=int),
    "equal to all": EqualToAll,
    "hostile": Hostile,
    "hostile text": lambda: HostileText("tick"),
    "hostile int": lambda: HostileInt(5),
    "hostile float": lambda: HostileFloat(5.0),
    "hostile dict": lambda: HostileDict(a=1),
    "hostile list": lambda: HostileList([1]),
    "hostile mapping": HostileMapping,
    "hostile rule": HostileRule,
    "bounded hostile rule": lambda: HostileRule().between(START, None),
    "foreign rule": ForeignRule,
    "rule": lambda: every(seconds=5),
    "list of hostile": lambda: [Hostile()],
    "dict of hostile": lambda: {"job": Hostile()},
    "definition": lambda: [{"job": "tick", "trigger": "every day"}],
}

TABLES = ("events", "definitions", "tags", "executions", "attempts", "gaps", "journal")


class Target:
    """A scheduler with one event, and a second connection that counts its rows."""

    def __init__(self, path: Path) -> None:
        registry = Registry()
        registry.register(lambda: None, "tick")
        self.scheduler = Scheduler(
            path, clock=ManualClock(START), registry=registry, environ={}, stall_after=60.0
        )
        self.scheduler.start()
        event = self.scheduler.schedule_event("tick", every(days=400), name="known")
        self.valid: dict[str, Any] = {
            "job": "tick",
            "trigger": once(START.add(years=1)),
            "events": [],
            "event_id": event.id,
            "execution_id": event.id,
            "rule": "x",
            "to": START.add(years=2),
            "start": START.subtract(years=3),
            "end": START,
            "backfill_id": event.id,
        }
        self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)

    def rows(self) -> list[Any]:
        return [
            self._db.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in TABLES
        ]

    def versions(self) -> list[Any]:
        return self._db.execute("SELECT id, version, updated_at FROM events").fetchall()

    def close(self) -> None:
        self._db.close()
        self.scheduler.shutdown(5.0)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    made = Target(tmp_path_factory.mktemp("bad") / "kalends.db")
    yield made
    made.close()


def well_formed(error: KalendsError) -> None:
    """A refusal that programs and people can use."""
    assert error.code == error.code.upper() != "KALENDS_ERROR"
    assert error.message
    assert len(error.message) < 5000
    assert str(error).encode()
    assert msgspec.json.encode(error.details)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.details) == (
        type(error),
        error.message,
        error.details,
    )


def refused(call: Callable[[], Any], target: Target | None = None) -> KalendsError | None:
    """The refusal of a call; None where it was accepted. Any other exception goes through."""
    before = None if target is None else (target.rows(), target.versions())
    try:
        call()
    except KalendsError as error:
        well_formed(error)
        assert error.code != "ACTOR_CRASHED"  # noqa: PT017  (a refusal is one of two good ends)
        if target is not None:
            assert (target.rows(), target.versions()) == before
        return error
    return None


@pytest.fixture(name="junk", scope="session")
def junk_fixture() -> dict[str, Callable[[], Any]]:
    return JUNK


@pytest.fixture(name="refused", scope="session")
def refused_fixture() -> Callable[..., KalendsError | None]:
    return refused


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``name`` runs over all kinds of junk: their own ``repr`` could not be a parameter."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", sorted(JUNK))
