"""The mutation run: mutants of the modules that decide, each run with the tests that run its lines.

What was found out is kept after each module, so a run may be ended at any time and go on with
``--missing``.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

import coverage
import hypothesis
import pytest
from tests.mutation.covering import ON_SQLITE, Covering, chosen, cover, files_of
from tests.mutation.mutants import Mutant, mutants_of, sample
from tests.mutation.page import write_page
from tests.mutation.results import RESULTS, Measured, Results, read_results, write
from tests.mutation.trial import Site, Template, passes

__all__ = ["main"]

WHOLE = ("supervisor.py", "policies.py", "planning.py", "restarts.py", "retrying.py")
"""Each mutant of these is tried."""
FOLDERS = ("storage", "triggers")
"""Of these, a sample."""
CENTRAL = {
    "storage/accounts.py", "storage/claims.py", "storage/nodes.py", "storage/outcomes.py",
    "storage/retention.py", "storage/verify/line.py", "storage/verify/account.py",
    "triggers/cron.py", "triggers/cron_fields.py", "triggers/rrule.py", "triggers/zoned.py",
}  # fmt: skip
"""Of these, twice as many."""


def main() -> int:
    """Do what the command line says; the exit status."""
    given = _arguments()
    if given.page:
        write_page()
        return 0
    with tempfile.TemporaryDirectory(prefix="kalends-mutants-") as folder:
        site = Site(Path(folder))
        modules = given.modules or _modules(site)
        run = _Run(site, cover(site, given.covering, modules), given)
        for module in modules:
            run.module(module)
        run.close()
    write_page()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as storage/claims.py")
    parser.add_argument("--sample", type=int, help="mutants of each module; 0: all (default: 10)")
    parser.add_argument("--seed", type=int, default=6, help="of the sample (default: 6)")
    parser.add_argument(
        "--budget", type=float, default=10.0, help="seconds of tests for one mutant (default: 10)"
    )
    parser.add_argument(
        "--survivors", action="store_true", help="try again those that are kept as survivors"
    )
    parser.add_argument("--note", help="what the page is to say of this run")
    parser.add_argument("--missing", action="store_true", help="skip what was measured before")
    parser.add_argument("--page", action="store_true", help="make the page, try nothing")
    parser.add_argument(
        "--covering",
        type=Path,
        default=Path(tempfile.gettempdir()) / "kalends-covering.json",
        help="where to keep which tests run which line",
    )
    return parser.parse_args()


def _modules(site: Site) -> list[str]:
    """All that are measured, those that are measured whole first."""
    below = [path for folder in FOLDERS for path in sorted((site.package / folder).rglob("*.py"))]
    return [*WHOLE, *(path.relative_to(site.package).as_posix() for path in below)]


class _Run:
    def __init__(self, site: Site, covering: Covering, given: argparse.Namespace) -> None:
        self._site = site
        self._covering = covering
        self._given = given
        versions = (
            f"{platform.python_implementation()} {platform.python_version()}, "
            f"pytest {pytest.__version__}, hypothesis {hypothesis.__version__}, "
            f"coverage {coverage.__version__}"
        )
        self._collected: tuple[str, ...] = ()
        self._running: Template | None = None
        before = read_results(RESULTS)
        self._results = Results(
            date=time.strftime("%Y-%m-%d"),
            versions=versions,
            seed=given.seed,
            note=given.note or (before.note if before else ""),
            modules=before.modules if before else {},
        )

    def module(self, module: str) -> None:
        """Try its mutants, and keep what came of them."""
        known = self._results.modules.get(module)
        all_of_it = mutants_of(self._site.read(module))
        if not all_of_it or (self._given.missing and known):
            return
        if self._given.survivors:
            if known is None or not known.survived:
                return
            mutants = [mutant for mutant in all_of_it if mutant.name in known.survived]
        else:
            known = None
            mutants = sample(all_of_it, self._size(module), f"{self._given.seed} {module}")
        self._control(module, mutants)
        now = Measured(len(all_of_it), len(mutants), 0)
        for mutant in mutants:
            self._try(module, mutant, now)
        self._results.modules[module] = now if known is None else _since(known, now)
        write(RESULTS, self._results)
        _say(f"{module}: {len(mutants)} of {len(all_of_it)}, {len(now.survived)} survived\n")

    def _size(self, module: str) -> int | None:
        size: int | None = self._given.sample
        if size is None:
            size = 0 if module in WHOLE else 20 if module in CENTRAL else 10
        return size or None

    def _control(self, module: str, mutants: list[Mutant]) -> None:
        """Without a change the tests pass, in both of the ways in which they run with one. An empty
        line at the top changes the code of each function, and nothing that it does.
        """
        before = self._site.read(module)
        for mutant in mutants:
            tests = chosen(self._covering, module, mutant, self._given.budget)
            if tests and mutant.in_function:
                patience = _patience(tests)
                template = self._template(module)
                passed = template.passes(list(tests), patience, module, before, f"\n{before}")
                if not (passed and passes(self._site, list(tests), patience)):
                    raise SystemExit(f"{module}: tests fail without any mutant: {self._log()}")
                return

    def _try(self, module: str, mutant: Mutant, now: Measured) -> None:
        tests = chosen(self._covering, module, mutant, self._given.budget)
        passed: bool | None = True  # what no test runs survives
        if tests:
            before = self._site.read(module)
            with self._site.with_module(module, mutant.source):
                passed = self._passes(module, before, mutant, tests)
        if passed is None:
            now.timed_out.append(mutant.name)
        elif passed:
            now.survived.append(mutant.name)
            _say(f"  {module}:{mutant.line} {mutant.name} [{len(tests)} tests]\n")
        else:
            now.killed += 1

    def _passes(
        self, module: str, before: str, mutant: Mutant, tests: dict[str, float]
    ) -> bool | None:
        """First in the quick way. What survives may have been at work as things were imported, and
        runs once more with everything imported anew.
        """
        if mutant.in_function:
            template = self._template(module)
            patience = _patience(tests)
            passed = template.passes(list(tests), patience, module, before, mutant.source)
            if not passed:
                return passed
        return passes(self._site, list(tests), _patience(tests))

    def _template(self, module: str) -> Template:
        """The process that has collected the tests of a module."""
        files = tuple(files_of(module))
        if self._collected != files:
            self.close()
            options = [] if "/postgres/" in module else [ON_SQLITE]
            self._collected, self._running = files, Template(self._site, files, options)
        assert self._running is not None
        return self._running

    def close(self) -> None:
        """End the process that has collected tests."""
        if self._running is not None:
            self._running.close()

    def _log(self) -> str:
        return self._site.log.read_text(errors="replace")[-3000:]


def _since(known: Measured, now: Measured) -> Measured:
    """What was measured before, where its survivors have been tried again.

    A survivor whose text is no longer in the module is no longer counted.
    """
    killed = [name for name in known.survived if name not in now.survived + now.timed_out]
    timed_out = [*known.timed_out, *now.timed_out]
    since = [*known.killed_since, *killed]
    tried = known.killed + len(timed_out) + len(now.survived) + len(since)
    return Measured(now.mutants, tried, known.killed, timed_out, now.survived, since)


def _patience(tests: dict[str, float]) -> float:
    """Seconds of processor time until tests are taken to hang. They have been measured under
    coverage, which makes them slower.
    """
    return 5.0 + sum(tests.values())


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
