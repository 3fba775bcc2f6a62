"""Cron cases from public test suites; see ``tests/data/vectors/README.md``."""

from __future__ import annotations

import datetime as dt
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kalends.clock import to_us
from kalends.errors import ValidationFailed
from kalends.triggers import Cron, cron

_FILE = Path(__file__).parent.parent / "data" / "vectors" / "cron.jsonl"
_ROWS = list(map(json.loads, _FILE.read_text(encoding="utf-8").splitlines()))
_REFUSED = [row for row in _ROWS if row["expect"] == "invalid"]
_DUE = [row for row in _ROWS if row["expect"] != "invalid"]


def _us(text: str) -> int:
    at = dt.datetime.fromisoformat(text)
    return to_us(at if at.tzinfo else at.replace(tzinfo=dt.UTC))


def _trigger(row: dict[str, Any]) -> Cron:
    dialect = "quartz" if row["dialect"] == "quartz" else "vixie"
    return cron(row["expr"], tz=row["tz"] or "UTC", dialect=dialect)


def test_the_vectors_are_all_there() -> None:
    assert (len(_REFUSED), len(_DUE)) == (160, 178)


@pytest.mark.parametrize("row", _REFUSED, ids=lambda row: row["id"])
def test_an_invalid_expression_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed):
        _trigger(row)


@pytest.mark.parametrize("row", _DUE, ids=lambda row: row["id"])
def test_the_next_instants_are_those_expected(row: dict[str, Any]) -> None:
    trigger = _trigger(row)
    after = _us(row["start"])
    expected = [_us(text) for text in row["expect"]]
    found: list[int] = []
    for _ in expected:
        due = trigger.next_us(found[-1] if found else after)
        assert due is not None
        found.append(due)
    assert found == expected
    if not expected:
        assert trigger.next_us(after) is None


@pytest.mark.parametrize("row", _DUE, ids=lambda row: row["id"])
def test_previous_and_count_agree_with_next(row: dict[str, Any]) -> None:
    trigger = _trigger(row)
    after = _us(row["start"])
    expected = [_us(text) for text in row["expect"]]
    for number, due in enumerate(expected, 1):
        assert trigger.count_us(after + 1, due + 1) == number
        assert trigger.previous_us(due + 1) == due
    for earlier, later in pairwise(expected):
        assert trigger.previous_us(later) == earlier
