"""Whether the tables of docs/reliability.md tell the truth about which tests there are.

Run as a program it prints what is wrong and fails; ``tox -e docs`` does so.
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["problems"]

ROOT = Path(__file__).resolve().parents[1]
FAULTS = {str(number) for number in range(1, 45)} | {f"I{number}" for number in range(1, 11)}
"""What has to have its row."""
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def problems(page: str, root: Path) -> list[str]:
    """What is wrong with the tables of the page, where the tests lie below ``root``."""
    found: list[str] = []
    rows = list(_rows(page))
    numbers = [name for name, _ in rows if name in FAULTS]
    found += [f"{name} has no row" for name in sorted(FAULTS - set(numbers))]
    found += [f"{name} has two rows" for name in sorted({*numbers}) if numbers.count(name) > 1]
    for name, cells in rows:
        if any(not cell for cell in cells):
            found.append(f"{name} has an empty cell")
        named = _TEST.findall(cells[-1])
        if not named:
            found.append(f"{name} names no test")
        if _TEST.sub("", cells[-1]).replace("<br>", "").strip():
            found.append(f"{name} has more than tests in its last cell")
        for path, test in named:
            if test not in _tests(root / path):
                found.append(f"{name}: there is no {path}::{test}")
    return found


def _rows(page: str) -> Iterator[tuple[str, list[str]]]:
    """The first cell and all the cells of each row of each table."""
    lines = page.splitlines()
    for before, line in itertools.pairwise(lines):
        if line.startswith("|") and before.startswith("|") and not line.startswith("|---"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            yield cells[0], cells


def _tests(path: Path) -> set[str]:
    """The names of the tests of a file, those of its classes included."""
    if not path.is_file():
        return set()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, functions) and node.name.startswith("test_")
    }


def main() -> int:
    """Print what is wrong; the exit status."""
    found = problems((ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"), ROOT)
    sys.stdout.writelines(f"docs/reliability.md: {problem}\n" for problem in found)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
