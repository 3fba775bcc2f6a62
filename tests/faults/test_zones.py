"""Time zones that change, or vanish, between two lives of a process."""

from __future__ import annotations

import shutil
import zoneinfo
from pathlib import Path
from typing import Any

import pytest
from tests.faults.conftest import run_program

SUMMER = "2027-06-01T00:00:00Z"


class Machine:
    """What a process finds: a database, and a directory of time zones of the test's own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "zones" / "Test" / "Zone"
        self._file.parent.mkdir(parents=True)

    def has(self, zone: str) -> None:
        """From now on the zone's file is that of another one."""
        found = [path for root in zoneinfo.TZPATH if (path := Path(root, zone)).is_file()]
        shutil.copy(found[0], self._file)

    def lacks_it(self) -> None:
        self._file.unlink()

    def live(self, *times: str) -> Any:
        database = self._directory / "k.db"
        zones = str(self._directory / "zones")
        return run_program("zoned.py", database, *times, PYTHONTZPATH=zones)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.has("Europe/Berlin")
    return made


def test_an_event_whose_zone_has_vanished_is_kept_and_told_of_and_never_runs_by_another(
    machine: Machine,
) -> None:
    assert machine.live(SUMMER, "2027-06-01T12:00:00Z")["events"]["zoned"]["ran"] == [
        "2027-06-01T07:00:00Z"
    ]
    machine.lacks_it()
    told = machine.live("2027-06-02T00:00:00Z", "2027-06-03T12:00:00Z")
    assert told["events"]["zoned"]["status"] == "quarantined"
    assert told["events"]["zoned"]["ran"] == ["2027-06-01T07:00:00Z"]
    assert "Test/Zone" in str([entry for entry in told["journal"] if "quar" in entry["kind"]])
    assert len(told["events"]["elsewhere"]["ran"]) == 3, "the others go on"


def test_what_is_next_is_computed_anew_when_a_zone_has_changed(machine: Machine) -> None:
    before = machine.live(SUMMER, "2027-06-01T12:00:00Z")["events"]
    assert before["zoned"]["next_due"] == "2027-06-02T07:00:00Z"
    assert before["both"]["next_due"] == "2027-06-02T07:00:00Z"
    machine.has("Africa/Lagos")  # an hour less, from the day on that these rules are
    told = machine.live("2027-06-01T12:00:00Z", "2027-06-02T12:00:00Z")
    for name in ("zoned", "both"):
        assert "2027-06-02T08:00:00Z" in told["events"][name]["ran"]
        assert "2027-06-02T07:00:00Z" not in told["events"][name]["ran"]
    assert told["events"]["elsewhere"] == {
        **before["elsewhere"],
        "ran": ["2027-06-01T09:00:00Z", "2027-06-02T09:00:00Z"],
        "next_due": "2027-06-03T09:00:00Z",
    }
    assert told["violations"] == []
    (entry,) = [entry for entry in told["journal"] if entry["kind"] == "zones_changed"]
    assert (entry["zones"], entry["count"]) == (["Test/Zone"], 2)
    again = machine.live("2027-06-02T12:00:00Z", "2027-06-03T12:00:00Z")
    assert len([entry for entry in again["journal"] if entry["kind"] == "zones_changed"]) == 1
    assert again["violations"] == []


def test_what_the_new_data_brings_closer_is_caught_up_with(machine: Machine) -> None:
    machine.has("America/New_York")
    machine.live("2027-05-31T23:00:00Z", "2027-06-01T12:00:00Z")
    machine.has("Asia/Tokyo")  # 09:00 was hours ago
    told = machine.live("2027-06-01T12:30:00Z", "2027-06-01T12:31:00Z")
    assert told["events"]["zoned"]["ran"] == ["2027-06-01T00:00:00Z"]
    assert told["violations"] == []


def test_zones_that_differ_in_no_instant_of_a_rule_change_nothing(machine: Machine) -> None:
    before = machine.live(SUMMER, "2027-06-01T12:00:00Z")
    machine.has("Europe/Paris")  # the same in our days
    told = machine.live("2027-06-01T12:00:00Z")
    assert told["events"] == before["events"]
    assert "zones_changed" not in [entry["kind"] for entry in told["journal"]]
