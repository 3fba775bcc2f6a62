"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pendulum
import pytest

from kalends import Registry, every
from kalends.testing import ManualClock, VirtualScheduler, assert_executed

CONFTEST = """
import pytest
from kalends import Registry

pytest_plugins = ["kalends.testing.plugin"]

JOBS = Registry()
CALLS = []
JOBS.register(lambda: CALLS.append(1), "tick")


@pytest.fixture
def calls():
    CALLS.clear()
    return CALLS
"""

TESTS = """
import pendulum
import pytest
import kalends
from kalends import every
from kalends.testing import assert_executed


@kalends.job("plugin.hello")
def hello():
    return "hello"


def test_the_jobs_are_those_of_the_decorator(kalends_scheduler):
    kalends_scheduler.schedule_event("plugin.hello", every(hours=1), name="h")
    kalends_scheduler.advance(3600)
    (execution,) = assert_executed(kalends_scheduler, "h")
    assert execution.result == "hello"
    assert kalends_scheduler.now == pendulum.datetime(2027, 1, 1, 1, tz="UTC")


class TestOwnJobs:
    @pytest.fixture
    def kalends_registry(self):
        from conftest import JOBS
        return JOBS

    def test_they_are_called(self, kalends_scheduler, kalends_clock, calls):
        kalends_scheduler.schedule_event("tick", every(minutes=10))
        kalends_clock.advance(3600)
        assert len(calls) == 6

    def test_each_test_begins_anew(self, kalends_scheduler):
        assert kalends_scheduler.count_events() == 0


@pytest.mark.kalends(start="2027-03-28T00:00+01:00", durations=900, workers=1, seed=5)
class TestMarked:
    def test_the_marker_says_how_it_is_made(self, kalends_scheduler):
        assert kalends_scheduler.now == pendulum.datetime(2027, 3, 27, 23, tz="UTC")
        assert kalends_scheduler.settings.workers == 1
        kalends_scheduler.schedule_event("plugin.hello", every(minutes=10), name="h")
        kalends_scheduler.advance(3600)
        assert_executed(kalends_scheduler, "h", count=3, fate=None)

    @pytest.mark.kalends(workers=2)
    def test_the_nearest_marker_wins(self, kalends_scheduler):
        assert kalends_scheduler.settings.workers == 2
        assert kalends_scheduler.world.seed == 5


@pytest.mark.kalends("yes")
def test_a_wrong_marker_is_an_error(kalends_scheduler):
    pass
"""


@pytest.mark.kalends(start="2027-03-28T00:00+01:00", durations=900, workers=1, seed=5)
class TestHere:
    @pytest.fixture
    def kalends_registry(self) -> Registry:
        made = Registry()
        made.register(lambda: None, "tick")
        return made

    @pytest.mark.kalends(workers=2)
    def test_the_fixtures_make_what_the_markers_say(
        self, kalends_scheduler: VirtualScheduler, kalends_clock: ManualClock
    ) -> None:
        assert kalends_scheduler.now == pendulum.datetime(2027, 3, 27, 23, tz="UTC")
        assert kalends_scheduler.settings.workers == 2
        assert kalends_scheduler.world.seed == 5
        kalends_scheduler.schedule_event("tick", every(minutes=10), name="ten")
        kalends_clock.advance(3600)
        assert_executed(kalends_scheduler, "ten", count=3, fate=None)


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_its_fixtures_and_its_marker_work(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_own.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    said = run(tmp_path)
    assert "5 passed, 1 error" in said, said
    assert "the marker kalends takes keywords only" in said
    assert "how this test's kalends_scheduler is made" in run(tmp_path, "--markers")


def test_a_pytest_that_does_not_ask_for_it_does_not_import_kalends(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import sys\ndef test_it(): assert not [n for n in sys.modules if n.startswith('kalends')]"
    )
    assert "1 passed" in run(tmp_path)
