"""The page on the mutation run says what the run said, and each survivor is judged."""

from __future__ import annotations

import pytest
from tests.mutation.page import PAGE, page
from tests.mutation.results import (
    JUDGEMENTS,
    RESULTS,
    Judgement,
    Judgements,
    Measured,
    Results,
    problems,
    read_judgements,
    read_results,
)


@pytest.fixture
def kept() -> Results:
    results = read_results(RESULTS)
    assert results is not None
    return results


def test_the_page_is_what_the_run_and_the_judgements_make_of_it(kept: Results) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(kept, read_judgements(JUDGEMENTS))


def test_the_numbers_add_up_and_each_survivor_is_judged(kept: Results) -> None:
    assert problems(kept, read_judgements(JUDGEMENTS)) == []


SAME = Judgement("equivalent", "it is the same")


def _results(**measured: Measured) -> Results:
    return Results("2027-01-01", "Python", 6, "In haste.", measured)


def test_each_survivor_is_listed_with_its_judgement() -> None:
    results = _results(a=Measured(9, 3, 1, ["x"], ["y: `1` → 2"]), b=Measured(8, 2, 2))
    told = page(results, {"a": {"y: `1` → 2": SAME}})
    assert "| `a` | 9 | 3 | 1 | 1 | 0 | 1 |\n| `b` | 8 | 2 | 2 | 0 | 0 | 0 |\n" in told
    assert "| all | 17 | 5 | 3 | 1 | 0 | 1 |\n" in told
    assert "### a\n\n- ``y: `1` → 2``: **equivalent**: it is the same\n" in told


@pytest.mark.parametrize(
    ("measured", "judgements", "problem"),
    [
        (Measured(9, 3, 1, ["x"], []), {}, "a: the fates are not 3"),
        (Measured(9, 1, 0, [], ["y"]), {}, "a: y is not judged"),
        (Measured(9, 1, 1), {"a": {"y": SAME}}, "a: y has not survived"),
        (Measured(9, 1, 1), {"b": {"y": SAME}}, "b: y has not survived"),
    ],
)
def test_what_does_not_agree_is_found(
    measured: Measured, judgements: Judgements, problem: str
) -> None:
    assert problems(_results(a=measured), judgements) == [problem]
