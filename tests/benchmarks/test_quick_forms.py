"""Each figure's quick form runs, and gives every number that its table has a column for.

How fast anything was is not looked at. The peers are not among the tests' requirements: where they
are absent, their rows say so.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc"),
    pytest.mark.exhaustive,  # once is enough: processes by the dozen
]

FIGURES = (
    "fires",
    "sustained",
    "lateness",
    "adding",
    "processes",
    "postgres",
    "triggers",
    "asking",
    "footprint",
    "growth",
    "history",
    "retention",
    "recovery",
    "work",
)
BESIDE = ("triggers",)
"""Figures that have the peers in columns of their own."""


def test_every_figure_is_tried_here(bench: Callable[..., str]) -> None:
    assert list(json.loads(bench("--list"))) == list(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_the_quick_form_gives_all_numbers(
    bench: Callable[..., str], tmp_path: Path, name: str
) -> None:
    bench(name, "--quick", "--results", tmp_path / "results.json")
    measured = json.loads((tmp_path / "results.json").read_text())["figures"][name]
    assert measured["quick"]
    assert measured["environment"]["SQLite"]
    present = [row for row in measured["rows"] if row["absent"] is None]
    assert present
    assert all(_whole(row) for row in present)
    seen = {key for row in present for key in row["cells"]}
    columns = set(json.loads(bench("--list"))[name])
    assert seen <= columns
    assert seen == columns or (name in BESIDE and measured["missing"])


def _whole(row: dict[str, Any]) -> bool:
    assert row["cells"], row
    for cell in row["cells"].values():
        assert len(cell["rounds"]) == 1, row
        assert math.isfinite(cell["median"]), row
        assert cell["low"] == cell["median"] == cell["high"], row
    return True
