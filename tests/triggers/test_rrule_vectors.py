"""Recurrence rules from a public test suite; see ``tests/data/vectors/README.md``."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from kalends.clock import MAX_US, MIN_US, to_us
from kalends.triggers import RRule, rrule

_FILE = Path(__file__).parent.parent / "data" / "vectors" / "rrule.jsonl"
_ROWS = list(map(json.loads, _FILE.read_text(encoding="utf-8").splitlines()))


def _us(text: str) -> int:
    at = dt.datetime.fromisoformat(text)
    return to_us(at if at.tzinfo else at.replace(tzinfo=dt.UTC))


def _trigger(row: dict[str, Any]) -> RRule:
    return rrule(row["expr"], start=row["start"], tz=row["tz"])


def test_the_vectors_are_all_there() -> None:
    assert len(_ROWS) == 113


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row["id"])
def test_the_instants_are_those_expected(row: dict[str, Any]) -> None:
    trigger = _trigger(row)
    expected = [_us(text) for text in row["expect"]]
    whole = "COUNT" in row["expr"] or "UNTIL" in row["expr"]
    end = MAX_US + 1 if whole else expected[-1] + 1
    assert list(trigger.between_us(MIN_US, end)) == expected
    assert trigger.count_us(MIN_US, end) == len(expected)
    back = []
    at = trigger.previous_us(end)
    while at is not None:
        back.append(at)
        at = trigger.previous_us(at)
    assert back[::-1] == expected
