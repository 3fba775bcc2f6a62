"""Modules of jobs that misbehave when they are imported."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kalends import Execution, Registry, Scheduler, every

FINE = "def work(): return 'ran'\n"
HANGING = """import multiprocessing, pathlib, threading
while {where} and pathlib.Path({gate!r}).exists():
    threading.Event().wait(0.01)
"""
_numbers = itertools.count()


class Application:
    """A scheduler whose jobs are imported by name, from modules that change between its lives."""

    def __init__(self, directory: Path, until: Callable[..., Any]) -> None:
        self._directory = directory
        self._until = until
        self._suffix = next(_numbers)
        """Modules of another test, which may still hang, have other names."""
        self.gate = directory / "gate"
        self.gate.touch()
        for name in ("faulty", "sound"):
            self.write(name, FINE)
        self.scheduler = self._make()
        with self.scheduler:
            for name in ("faulty", "sound"):
                job = f"{self._module(name)}:work"
                event = self.scheduler.schedule_event(
                    job, every(hours=1), name=name, max_attempts=1, timeout=0.5
                )
                assert event.job == job

    def _module(self, name: str) -> str:
        return f"kalends_{name}_{self._suffix}"

    def _make(self) -> Scheduler:
        registry = Registry(allow_imports=[self._module(name) for name in ("faulty", "sound")])
        return Scheduler(self._directory / "k.db", registry=registry, environ={})

    def write(self, name: str, source: str) -> None:
        """From the next life on the module is this."""
        (self._directory / f"{self._module(name)}.py").write_text(source)
        sys.modules.pop(self._module(name), None)

    def hang(self, name: str, where: str = "True", then: str = "") -> None:
        """From the next life on the module hangs when it is imported, where that is so."""
        self.write(name, HANGING.format(where=where, gate=str(self.gate)) + f"{then}\n" + FINE)

    def start_again(self) -> None:
        self.scheduler = self._make()
        self.scheduler.start()

    def trigger(self, name: str) -> Execution:
        """Have the job of a module run."""
        (event,) = self.scheduler.list_events(name=name).items
        return self.scheduler.trigger_now(event.id)

    def run(self, name: str) -> Execution:
        """Run the job of a module; how that ended."""
        execution = self.trigger(name)

        def ended() -> Execution | None:
            found = self.scheduler.get_execution(execution.id)
            return found if found.ended_at is not None else None

        found: Execution = self._until(ended)
        return found


@pytest.fixture
def application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> Iterator[Application]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Application(tmp_path, until)
    yield made
    made.gate.unlink(missing_ok=True)
    made.scheduler.shutdown(5.0)


@pytest.mark.parametrize("source", ["import sys; sys.exit(3)", "raise KeyboardInterrupt", "1 / 0"])
def test_a_module_that_exits_when_it_is_imported_parks_its_event_alone(
    application: Application, source: str
) -> None:
    application.write("faulty", source)
    application.start_again()
    found = application.run("faulty")
    assert (found.fate, found.reason, found.attempts) == ("skipped", "quarantined", ())
    assert application.run("sound").result == "ran"
    status = application.scheduler.status()
    assert status.state == "running"
    assert [actor.restarts for actor in status.actors] == [0, 0, 0, 0]


def test_a_module_that_hangs_when_it_is_imported_is_timed_out_and_holds_up_nobody_else(
    application: Application, until: Callable[..., Any]
) -> None:
    application.hang("faulty")
    application.start_again()
    hanging = application.trigger("faulty")
    assert application.run("sound").result == "ran"
    until(lambda: application.scheduler.get_execution(hanging.id).ended_at is not None)
    found = application.scheduler.get_execution(hanging.id)
    assert (found.fate, found.still_running) == ("timed_out", True)
    assert found.error is not None
    assert found.error.message == "took longer than 0.5 seconds"
    (attempt,) = found.attempts
    assert attempt.started_at is not None
    assert attempt.ended_at is not None
    assert 0.4 < (attempt.ended_at - attempt.started_at).total_seconds() < 9.0
    assert application.scheduler.verify().ok
    application.gate.unlink()  # the import ends now, too late: the job never begins
    until(lambda: not application.scheduler.get_execution(hanging.id).still_running)
    found = application.scheduler.get_execution(hanging.id)
    assert (found.fate, found.result) == ("timed_out", None)
    assert application.run("faulty").result == "ran"
    assert application.scheduler.verify().ok


def test_a_module_that_fails_after_its_time_is_up_has_timed_out(
    application: Application, until: Callable[..., Any]
) -> None:
    application.hang("faulty", then="1 / 0")
    application.start_again()
    hanging = application.run("faulty")
    assert (hanging.fate, hanging.still_running) == ("timed_out", True)
    application.gate.unlink()
    until(lambda: not application.scheduler.get_execution(hanging.id).still_running)
    (event,) = application.scheduler.list_events(name="faulty").items
    assert (event.status, application.run("faulty").reason) == ("active", "quarantined")


def test_a_shutdown_while_a_module_hangs_ends_in_time(application: Application) -> None:
    application.hang("faulty")
    application.start_again()
    hanging = application.trigger("faulty")
    assert application.run("sound").result == "ran"
    report = application.scheduler.shutdown(0.2)
    assert report.abandoned == ()
    application.start_again()
    assert application.run("sound").result == "ran"
    assert application.scheduler.get_execution(hanging.id).fate != "succeeded"


def test_a_module_that_hangs_when_a_worker_process_imports_it_is_timed_out(
    application: Application, until: Callable[..., Any]
) -> None:
    application.hang("faulty", "multiprocessing.current_process().name != 'MainProcess'")
    application.start_again()
    (event,) = application.scheduler.list_events(name="faulty").items
    application.scheduler.update_event(event.id, executor="process", timeout=3.0)
    found = application.run("faulty")
    assert found.fate == "timed_out"
    until(lambda: not application.scheduler.get_execution(found.id).still_running)
    assert application.run("sound").result == "ran"
