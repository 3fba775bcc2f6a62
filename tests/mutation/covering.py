"""Which tests run which line of the package, and how long each takes.

Found out once for each file of tests, by one run of them under coverage, and kept; a changed
package makes it void.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import coverage
import msgspec
import pytest
from tests.mutation.mutants import Mutant
from tests.mutation.trial import ROOT, Site, passes

__all__ = ["ON_SQLITE", "Covering", "chosen", "cover", "files_of"]

_ASKED = {
    "supervisor.py": ("supervisor",),
    "restarts.py": ("test_restarts.py", "supervisor"),
    "retrying.py": ("test_retrying.py",),
    "policies.py": ("test_policies.py", "test_definitions.py", "test_validation.py"),
    "planning.py": ("test_planning.py",),
    "storage/postgres/": ("storage/postgres",),
    "storage/declared.py": ("storage", "scheduler/test_declared.py"),
    "storage/": ("storage",),
    "triggers/": ("triggers",),
}
"""For each module or folder, the folders and files of tests that are asked: its own, which ought to
do by themselves. Tests of the scheduler as a whole, of hosts and of processes would find more.
"""
_HOUR = 3600.0
ON_SQLITE = "-knot postgres"
"""What is common to both kinds of database is looked at on the one that needs no server."""


class FileCovered(msgspec.Struct):
    """What one file of tests runs."""

    digest: str
    seconds: dict[str, float]
    """Processor time that each of its tests takes, under coverage; without those that failed."""
    lines: dict[str, dict[int, list[str]]]
    """By module and line, the tests that run it."""


class Covering(msgspec.Struct):
    """What all of them run."""

    package: str
    """The digest of what they ran."""
    files: dict[str, FileCovered]

    def tests_of(self, module: str, lines: range | None) -> dict[str, float]:
        """The tests that run any of these lines of a module, and their seconds. None: those that
        run any of it, and those of its own files.
        """
        found: dict[str, float] = {}
        files = {name: self.files[name] for name in files_of(module)}
        if lines is None:
            start = _own(module)
            for name, file in files.items():
                found |= file.seconds if name.startswith(start) else {}
        for file in files.values():
            for line, tests in file.lines.get(module, {}).items():
                if lines is None or line in lines:
                    found.update((test, file.seconds[test]) for test in tests)
        return found


def cover(site: Site, kept: Path, modules: Sequence[str]) -> Covering:
    """What is known from ``kept``, and what had to be found out, which is kept there."""
    package = _digest(sorted(site.package.rglob("*.py")))
    covering = Covering(package, {})
    if kept.exists():
        before = msgspec.json.decode(kept.read_bytes(), type=Covering)
        covering = before if before.package == package else covering
    digests = {path: _digest([ROOT / path]) for module in modules for path in files_of(module)}
    for name, digest in digests.items():
        if name in covering.files and covering.files[name].digest != digest:
            del covering.files[name]
    missing = {name: digest for name, digest in digests.items() if name not in covering.files}
    on_postgres = {name: digest for name, digest in missing.items() if "/postgres/" in name}
    others = {name: digest for name, digest in missing.items() if name not in on_postgres}
    for files, options in ((others, [ON_SQLITE]), (on_postgres, [])):
        if files:
            covering.files |= _find_out(site, files, options)
            kept.write_bytes(msgspec.json.encode(covering))
    return covering


def _find_out(site: Site, files: dict[str, str], options: list[str]) -> dict[str, FileCovered]:
    """One run of these files of tests; each has its digest."""
    found = site.folder / "covered.json"
    recorder = _Recorder(site, files, found)
    ended = passes(site, ["--maxfail=1000", *options, *files], _HOUR, [recorder])
    if ended is None or not found.exists():
        raise SystemExit(f"the tests did not end: {site.log.read_text()[-3000:]}")
    return msgspec.json.decode(found.read_bytes(), type=dict[str, FileCovered])


def chosen(covering: Covering, module: str, mutant: Mutant, budget: float) -> dict[str, float]:
    """The tests a mutant is to be run with, the fastest first, and their seconds: of its module's
    own test files twice ``budget`` seconds at most, of the others ``budget``.
    """
    found = covering.tests_of(module, mutant.asked)
    start = _own(module)
    left = {True: 2 * budget, False: budget}
    selected: dict[str, float] = {}
    for test, took in sorted(found.items(), key=_seconds):
        own = test.startswith(start)
        left[own] -= took
        if left[own] >= 0 or not selected:
            selected[test] = took
    return selected


def _seconds(test: tuple[str, float]) -> float:
    return test[1]


def _own(module: str) -> tuple[str, ...]:
    """How the names of a module's own tests begin."""
    path = PurePosixPath("tests", module)
    folder, stem = path.parent.as_posix(), path.stem
    own = [f"{folder}/test_{stem}", f"{folder}/{stem}/"]
    if len(path.parts) > 3:
        own.append(f"{folder}/")  # a part of something that has its tests as a whole
    return tuple(own)


def files_of(module: str) -> Iterator[str]:
    """The files of tests that are asked about a module."""
    asked = next((asked for start, asked in _ASKED.items() if module.startswith(start)), ())
    for name in asked:
        path = ROOT / "tests" / name
        for file in sorted(path.rglob("test_*.py")) if path.is_dir() else [path]:
            relative = file.relative_to(ROOT).as_posix()
            if "/postgres/" in module or "/postgres/" not in relative:
                yield relative


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class _Recorder:
    """A plug-in of pytest, in the child."""

    def __init__(self, site: Site, digests: dict[str, str], out: Path) -> None:
        self._package = site.package
        self._digests = digests
        self._out = out
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()
        self._coverage: coverage.Coverage | None = None

    def pytest_configure(self) -> None:
        self._coverage = coverage.Coverage(
            data_file=None,
            config_file=False,
            concurrency=["thread", "gevent"],
            source=[str(self._package)],
        )
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        assert self._coverage is not None
        self._coverage.switch_context(item.nodeid)
        began = time.process_time()
        result = yield
        self._seconds[item.nodeid] = time.process_time() - began
        self._coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)

    def pytest_unconfigure(self) -> None:
        assert self._coverage is not None
        self._coverage.stop()
        data = self._coverage.get_data()
        files = {name: FileCovered(digest, {}, {}) for name, digest in self._digests.items()}
        for test in self._failed:
            sys.stderr.write(f"fails without any mutant: {test}\n")
            del self._seconds[test]
        for test, took in self._seconds.items():
            files[test.partition("::")[0]].seconds[test] = round(took, 3)
        for path in data.measured_files():
            module = Path(path).relative_to(self._package).as_posix()
            for line, tests in data.contexts_by_lineno(path).items():
                for test in tests:
                    if test not in self._seconds:
                        continue
                    lines = files[test.partition("::")[0]].lines.setdefault(module, {})
                    lines.setdefault(line, []).append(test)
        self._out.write_bytes(msgspec.json.encode(files))
