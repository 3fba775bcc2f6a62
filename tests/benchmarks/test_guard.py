"""What a fire, an added event and an ask take must not grow: counts that no machine changes, within
bounds.

To renew the bounds after a change that is meant to cost more, or that costs less: run
``python -P benchmarks work --quick`` (against the installed package) twice on Python 3.11, and
write here what it printed and 10 % more. For ``loop`` three times as much: it is processor time
against that of a call of an empty function in the same run, which load and caches change.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc"),
    pytest.mark.exhaustive,  # once, on one interpreter: each has its own way of counting calls
]

BOUNDS = {
    "a fire": {
        # Few for each batch, however many it holds: how many batches there are is chance.
        "statements": 0.3,
        "commits": 0.05,
        "rows": 2.2,
        "steps": 290.0,
        "calls": 152.0,
        "loop": 6500.0,
    },
    "schedule_event": {
        "statements": 4.4,
        "commits": 1.1,
        "rows": 2.2,
        "steps": 172.0,
        "calls": 342.0,
        "loop": 55000.0,
    },
    "schedule_events, an event": {
        "statements": 0.1,
        "commits": 0.01,
        "rows": 1.1,
        "steps": 108.0,
        "calls": 51.0,
        "loop": 1600.0,
    },
    "an ask between actors": {"calls": 40.8, "loop": 620.0},
}


def test_a_fire_an_added_event_and_an_ask_take_no_more_than_they_did(
    bench: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("work") / "results.json"
    bench("work", "--quick", "--results", file)
    rows = json.loads(file.read_text())["figures"]["work"]["rows"]
    counted = {
        row["name"]: {key: cell["median"] for key, cell in row["cells"].items()} for row in rows
    }
    assert {name: cells.keys() for name, cells in counted.items()} == {
        name: bounds.keys() for name, bounds in BOUNDS.items()
    }
    over = [
        f"{name}: {key} {value} > {BOUNDS[name][key]}"
        for name, cells in counted.items()
        for key, value in cells.items()
        if value > BOUNDS[name][key]
    ]
    assert not over
    # Nothing that was counted may have been left out: a fire writes what it is about, and calls.
    assert all(cells.get("rows", 1.0) >= 1.0 for cells in counted.values())
    assert all(cells["calls"] > 10.0 for cells in counted.values())
