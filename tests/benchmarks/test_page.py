"""The page is made of the results, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_DOCS = Path(__file__).parent.parent.parent / "docs"


def _cell(*rounds: float) -> dict[str, Any]:
    ordered = sorted(rounds)
    middle = ordered[len(ordered) // 2]
    return {"median": middle, "low": ordered[0], "high": ordered[-1], "rounds": rounds}


@pytest.fixture
def page(bench: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Makes the page of the given rows of the figure ``fires``."""

    def make(
        *rows: dict[str, Any], missing: tuple[str, ...] = (), failures: tuple[str, ...] = ()
    ) -> str:
        figure = {
            "measured_at": "2026-01-02T03:04:05+00:00",
            "seconds": 61.4,
            "quick": False,
            "environment": {"Python": "3.11.7", "commit": "abc", "load before": "0.10"},
            "rows": rows,
            "missing": missing,
            "failures": failures,
        }
        file = tmp_path / "results.json"
        file.write_text(json.dumps({"format": 1, "figures": {"fires": figure}}))
        bench("--page", "--results", file, "--docs", tmp_path)
        return (tmp_path / "performance.md").read_text()

    return make


def test_a_table_has_the_median_and_its_spread(page: Callable[..., str]) -> None:
    text = page(
        {"name": "Kalends", "cells": {"at_once": _cell(51234.0, 49876.0, 60000.0)}},
        {"name": "Huey", "cells": {"at_once": _cell(4444.4)}},
    )
    assert "| Kalends | **51,200** (49,900 to 60,000) |" in text
    assert "| Huey | **4,440** |" in text
    assert "Measured 2026-01-02 in 61 s; median of 1 or 3 rounds" in text
    assert "| Python | 3.11.7 |" in text


def test_a_peer_that_was_absent_is_named_below_the_table(page: Callable[..., str]) -> None:
    text = page(
        {"name": "Kalends", "cells": {"at_once": _cell(1.0)}},
        {"name": "Huey", "cells": {}, "absent": "huey is not installed"},
        missing=("huey is not installed",),
    )
    assert "| Huey |" not in text
    assert "Not measured: huey is not installed." in text


def test_what_a_peer_did_not_finish_is_told_below_the_table(page: Callable[..., str]) -> None:
    text = page(
        {"name": "Kalends", "cells": {"at_once": _cell(1.0)}},
        {"name": "Huey", "cells": {}},
        failures=("Huey, at_once, round 1: TimeoutError: the last run",),
    )
    assert "Failed: Huey, at_once, round 1: TimeoutError: the last run." in text


def test_the_chart_shows_the_best_first(page: Callable[..., str], tmp_path: Path) -> None:
    page(
        {"name": "Huey", "cells": {"at_once": _cell(10.0)}},
        {"name": "Kalends", "cells": {"at_once": _cell(40.0)}},
    )
    chart = (tmp_path / "performance" / "fires.svg").read_text()
    assert chart.index(">Kalends<") < chart.index(">Huey<")
    widths = [line.split('"')[5] for line in chart.splitlines() if 'height="18"' in line]
    assert [float(width) for width in widths] == [420.0, 105.0]


def test_the_same_results_give_the_same_page(page: Callable[..., str]) -> None:
    rows = ({"name": "Kalends", "cells": {"at_once": _cell(1.5, 2.5, 3.5)}},)
    assert page(*rows) == page(*rows)


def test_the_page_in_the_docs_is_what_its_results_give(
    bench: Callable[..., str], tmp_path: Path
) -> None:
    kept = _DOCS / "performance"
    bench("--page", "--results", kept / "results.json", "--docs", tmp_path)
    assert (tmp_path / "performance.md").read_text() == (_DOCS / "performance.md").read_text()
    charts = {file.name: file.read_text() for file in kept.glob("*.svg")}
    made = {file.name: file.read_text() for file in (tmp_path / "performance").glob("*.svg")}
    assert made == charts


def test_what_the_docs_show_was_no_quick_run() -> None:
    figures = json.loads((_DOCS / "performance" / "results.json").read_text())["figures"]
    assert [name for name, figure in figures.items() if figure["quick"]] == []
