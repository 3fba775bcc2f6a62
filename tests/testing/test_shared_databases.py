"""Worlds of one seed that meet on one database: their ids differ, and stay a matter of the seed."""

from __future__ import annotations

from pathlib import Path

import pendulum
import pytest

from kalends import Registry, StorageRefused, every
from kalends.testing import VirtualScheduler

START = pendulum.datetime(2027, 1, 1, tz="UTC")


@pytest.fixture
def jobs() -> Registry:
    registry = Registry()
    registry.register(lambda: None, "work")
    return registry


def test_two_worlds_of_one_seed_run_beside_each_other_on_one_file(
    tmp_path: Path, jobs: Registry
) -> None:
    with (
        VirtualScheduler(tmp_path / "k.db", registry=jobs) as one,
        VirtualScheduler(tmp_path / "k.db", registry=jobs) as two,
    ):
        assert one.status().node != two.status().node
        for scheduler, name in ((one, "a"), (two, "b")):
            scheduler.schedule_event("work", every(hours=1, anchor=START), name=name)
            scheduler.advance(7200)
        assert len(two.list_events().items) == 2
        assert two.verify().ok


def test_a_program_may_begin_again_on_its_file_at_the_same_instant(
    tmp_path: Path, jobs: Registry
) -> None:
    for name in ("a", "b"):
        with VirtualScheduler(tmp_path / "k.db", registry=jobs) as scheduler:
            scheduler.schedule_event("work", every(hours=1, anchor=START), name=name)
            assert name in [event.name for event in scheduler.list_events().items]


def test_schedulers_that_run_nothing_do_not_collide_either(tmp_path: Path, jobs: Registry) -> None:
    with (
        VirtualScheduler(tmp_path / "k.db", registry=jobs, enabled=False) as one,
        VirtualScheduler(tmp_path / "k.db", registry=jobs, enabled=False) as two,
    ):
        ids = {each.schedule_event("work", every(hours=1)).id for each in (one, two)}
        assert len(ids) == 2


def test_the_ids_are_those_of_the_seed(tmp_path: Path, jobs: Registry) -> None:
    dumps = set()
    for name in ("one.db", "two.db"):
        for _ in range(2):
            with VirtualScheduler(tmp_path / name, registry=jobs, seed=7) as scheduler:
                scheduler.schedule_event("work", every(hours=1, anchor=START))
                last = scheduler.advance(3600).dump()
        dumps.add(last)
    assert len(dumps) == 1


def test_a_file_that_cannot_be_used_leaves_no_process_behind(
    tmp_path: Path, jobs: Registry
) -> None:
    path = tmp_path / "k.db"
    path.write_bytes(b"something else")
    scheduler = VirtualScheduler(path, registry=jobs)
    with pytest.raises(StorageRefused):
        scheduler.start()
    assert not scheduler.world.alive
    path.unlink()
    with scheduler:
        assert scheduler.alive
