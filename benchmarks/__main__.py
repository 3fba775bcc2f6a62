"""The benchmarks' command: ``python -P benchmarks [FIGURE ...] [--quick]``.

Measures the figures that are named (default: all) and keeps the results; the page
``docs/performance.md`` and its charts are made from them. ``--quick`` measures next to nothing, to
show that everything works, and touches no page. ``--page`` only makes the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec
from figures.catalogue import FIGURES
from harness.page import write_page
from harness.results import read, write
from harness.running import TaskFailed, child, measure

_DOCS = Path(__file__).parent.parent / "docs"
_RESULTS = _DOCS / "performance" / "results.json"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument("--rounds", type=int, help="instead of each task's own number of rounds")
    parser.add_argument("--results", type=Path, help=f"the JSON file (default: {_RESULTS.name})")
    parser.add_argument("--docs", type=Path, default=_DOCS, help="where the page is written")
    parser.add_argument("--page", action="store_true", help="make the page, measure nothing")
    parser.add_argument(
        "--list", action="store_true", help="the figures and their columns, as JSON"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := [name for name in given.figures if name not in FIGURES]:
        parser.error(f"there is no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    return given


def main() -> int:
    """Do what the command line says; the exit status."""
    given = _arguments()
    if given.child:
        child(given.child)
    if given.list:
        columns = {name: [c.key for c in figure.columns] for name, figure in FIGURES.items()}
        print(msgspec.json.encode(columns).decode())
        return 0
    if given.page:
        write_page(given.docs, read(given.results or _RESULTS))
        return 0
    scratch = Path(tempfile.gettempdir()) / "kalends-benchmarks-quick.json"
    file = given.results or (scratch if given.quick else _RESULTS)
    failed = False
    for name in given.figures or FIGURES:
        try:
            measured = measure(FIGURES[name], quick=given.quick, rounds=given.rounds)
        except TaskFailed as failure:
            # The others may be measured all the same.
            print(failure, file=sys.stderr, flush=True)
            failed = True
            continue
        # Kept after each figure: a run that is ended has its figures so far.
        results = read(file)
        results.figures[name] = measured
        write(file, results)
        print(f"{name}: {measured.seconds:.0f} s, kept in {file}", file=sys.stderr)
    if file == _RESULTS:
        write_page(given.docs, read(file))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
