"""Tests run in a process of their own, on a copy of the installed package with one module changed.

Such a process is forked from one that has imported what the tests need and Kalends does too, but
nothing of Kalends: a new interpreter would spend more time on imports than most tests take. What
the tests start in turn reads the same copy.
"""

from __future__ import annotations

import compileall
import importlib
import importlib.util
import json
import math
import os
import py_compile
import resource
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis.internal.conjecture import engine
from tests.mutation.swap import swap

__all__ = ["ROOT", "Site", "Template", "passes"]

ROOT = Path(__file__).resolve().parents[2]
_SHARED = (
    "_pytest.assertion.rewrite",
    "apsw",
    "gevent",
    "gevent.event",
    "hypothesis",
    "hypothesis.strategies",
    "msgspec",
    "pendulum",
    "playhouse.apsw_ext",
    "psycopg",
    "pykka",
    "structlog",
)
_WAITING = 30.0
_BUSY = 4.0
"""How much longer something may take on a machine that has other things to do."""
_MEMORY = 2 * 1024**3
_OPTIONS = (
    "-q",
    "-x",
    "--no-header",
    "--tb=short",
    "--confcutdir=tests",
    "-pno:cacheprovider",
    # What is imported before it starts is not its own to import.
    "-Wignore::pytest.PytestAssertRewriteWarning",
    "-mnot fresh_environment and not exhaustive",
)


class Site:
    """A folder that stands before all others on the path of the tests."""

    def __init__(self, folder: Path) -> None:
        """``folder``: an empty one, which also takes what the tests print and write."""
        self.folder = folder
        self.package = folder / "site" / "kalends"
        self.log = folder / "tests.log"
        shutil.copytree(_installed(), self.package, ignore=shutil.ignore_patterns("__pycache__"))
        # By the hash of its source: a changed module may be as old and as long as it was.
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(self.package, quiet=1, invalidation_mode=mode)

    def read(self, module: str) -> str:
        """The source of a module: ``storage/claims.py``."""
        return (self.package / module).read_text(encoding="utf-8")

    @contextmanager
    def with_module(self, module: str, source: str) -> Iterator[None]:
        """Meanwhile that module has this source."""
        path = self.package / module
        before = path.read_bytes()
        path.write_bytes(source.encode())
        try:
            yield
        finally:
            path.write_bytes(before)


def passes(
    site: Site, tests: Sequence[str], seconds: float, plugins: Sequence[object] = ()
) -> bool | None:
    """Whether these tests pass on what the site holds now; None where they take too long: as much
    processor time as ``seconds``, or so much longer that they must be waiting for something.
    """
    _prepare()
    child = os.fork()
    if child == 0:
        _bound(seconds)
        _run(site, tests, plugins)
    return _passed(child, seconds)


def _bound(seconds: float) -> None:
    """In the child: end when so much processor time is used, and go without endless memory."""
    limit = math.ceil(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))


def _prepare() -> None:
    """Import what all processes share."""
    for name in _SHARED:
        importlib.import_module(name)
    # That a property fails is enough to know: what the least example is takes seconds to find out.
    engine.MAX_SHRINKS = 1


def _passed(child: int, seconds: float) -> bool | None:
    """What became of a process that runs tests; what is left of it afterwards is ended."""
    watch = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([watch], [], [], _WAITING + _BUSY * seconds)
    finally:
        os.close(watch)
        # Also what its tests have started and left: all of it is in one group.
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # before it had a group
        _, status = os.waitpid(child, 0)
    if not ended:
        return None
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGXCPU:
        return None
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError("there are no such tests")
    return code == pytest.ExitCode.OK


class Template:
    """A process that has collected files of tests, and runs some of them on a mutant in a fork of
    itself: neither Kalends nor the tests are imported anew.
    """

    def __init__(self, site: Site, files: Sequence[str], options: Sequence[str] = ()) -> None:
        _prepare()
        self._site = site
        self._mine, theirs = socket.socketpair()
        self._child = os.fork()
        if self._child == 0:
            self._mine.close()
            _run(site, [*options, *files], [_Forking(theirs)])
        theirs.close()
        self._answers = self._mine.makefile("r", encoding="utf-8")

    def passes(
        self, tests: Sequence[str], seconds: float, module: str, before: str, after: str
    ) -> bool | None:
        """As the function of that name; the module's source was changed from ``before`` to
        ``after``. True also where that cannot be done with a loaded module.
        """
        swapped = str(self._site.package / module), before, after
        asked = {"tests": tests, "seconds": seconds, "swapped": swapped}
        self._mine.sendall(json.dumps(asked).encode() + b"\n")
        answer: bool | None = json.loads(self._answers.readline())
        return answer

    def close(self) -> None:
        """End it."""
        self._answers.close()
        self._mine.close()
        os.waitpid(self._child, 0)


class _Forking:
    """A plug-in of pytest, in a template: it stands in for the loop over the tests."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        items = {item.nodeid: item for item in session.items}
        for line in self._orders.makefile("r", encoding="utf-8"):
            order = json.loads(line)
            chosen = [items[test] for test in order["tests"]]
            child = os.fork()
            if child == 0:
                os.setsid()
                _bound(order["seconds"])
                if not swap(*order["swapped"]):
                    os._exit(0)
                session.items[:] = chosen
                return None  # to pytest's own loop
            passed = _passed(child, order["seconds"])
            self._orders.sendall(json.dumps(passed).encode() + b"\n")
        return True


def _run(site: Site, tests: Sequence[str], plugins: Sequence[object]) -> NoReturn:
    """In the child: become a process that runs tests, and end as one."""
    code: int = pytest.ExitCode.INTERNAL_ERROR
    try:
        os.setsid()
        output = os.open(site.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(ROOT)
        del sys.modules["tests"]
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(site.package.parent))
        os.environ["PYTHONPATH"] = str(site.package.parent)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        temporary = f"--basetemp={site.folder / 'tmp'}"
        code = pytest.main([*_OPTIONS, temporary, *tests], plugins=plugins)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _installed() -> Path:
    """Where Kalends is installed; it is not imported."""
    found = importlib.util.find_spec("kalends")
    if found is None or found.origin is None:
        raise SystemExit("kalends is not installed here: tox -e mutation")
    return Path(found.origin).parent
