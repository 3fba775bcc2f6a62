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

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")

FIGURES = (
    "fires",
    "sustained",
    "lateness",
    "adding",
)


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
    ours = [row for row in present if row["name"].startswith("Kalends") or not row["settings"]]
    assert ours
    assert all(_whole(row) for row in present)
    seen = {key for row in present for key in row["cells"]}
    assert seen == set(json.loads(bench("--list"))[name])


def _whole(row: dict[str, Any]) -> bool:
    assert row["cells"], row
    for cell in row["cells"].values():
        assert len(cell["rounds"]) == 1, row
        assert math.isfinite(cell["median"]), row
        assert cell["low"] == cell["median"] == cell["high"], row
    return True
