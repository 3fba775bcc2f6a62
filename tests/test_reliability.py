"""The page on reliability names, for each fault, tests that exist, and the check can fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reliability import FAULTS, ROOT, problems

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_fault_has_a_row_and_every_row_has_tests_that_exist() -> None:
    assert problems(PAGE, ROOT) == []


@pytest.fixture
def page(tmp_path: Path) -> str:
    """A small page with a row for each fault, and the one test that they name."""
    (tmp_path / "a.py").write_text("class TestIt:\n    def test_b(self): ...\n")
    rows = "".join(f"| {name} | fault | `a.py::test_b` |\n" for name in sorted(FAULTS))
    return f"| # | fault | injected by |\n|---|---|---|\n{rows}"


def test_a_page_that_is_complete_has_no_problem(page: str, tmp_path: Path) -> None:
    assert problems(page, tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("| 7 | fault | `a.py::test_b` |\n", "", "7 has no row"),
        ("| 7 | fault |", "| 8 | fault |", "8 has two rows"),
        ("| 7 | fault |", "| 7 | |", "7 has an empty cell"),
        ("| 7 | fault | `a.py::test_b` |", "| 7 | fault | soon |", "7 names no test"),
        ("| 7 | fault | `a.py::test_b` |", "| 7 | fault | `a.py::test_c` |",
         "7: there is no a.py::test_c"),
        ("| 7 | fault | `a.py::test_b` |", "| 7 | fault | `b.py::test_b` |",
         "7: there is no b.py::test_b"),
        ("| 7 | fault | `a.py::test_b` |", "| 7 | fault | `a.py::test_b` and more |",
         "7 has more than tests in its last cell"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_page_is_found(
    page: str, tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert old in page
    assert problem in problems(page.replace(old, new, 1), tmp_path)
