"""Stories of faults, each from its seed: none may break what is promised, or leave anything undone.

``TEST_SEEDS`` says how many (default 20) and ``TEST_FIRST_SEED`` with which to begin; ``tox -e
simulation`` lives through ten thousand, on all processors. A story is its seed: what has failed
once fails again, and stays here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from tests.faults.simulation.living import Figures, live, live_all

FIRST = int(os.environ.get("TEST_FIRST_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("TEST_SEEDS", "20")))
KEPT = (278, 1126, 1164, 1340, 1358, 1398, 1570, 2008, 2045, 2106, 5317, 5352, 10599)
"""Seeds that have shown a mistake, of the system or of its simulation."""
_ALONE = 200
"""Up to so many are lived through in this process, one after the other."""
_PORTION = 50

pytestmark = pytest.mark.timeout(60 + len(SEEDS))


def live_through(seeds: Sequence[int]) -> Iterator[Figures]:
    """Portion by portion."""
    if len(seeds) <= _ALONE or sys.platform == "win32":  # which cannot fork
        yield live_all(seeds)
        return
    portions = [seeds[place : place + _PORTION] for place in range(0, len(seeds), _PORTION)]
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        yield from pool.map(live_all, portions)


def test_whatever_happens_nothing_is_lost_and_all_that_was_due_gets_its_fate() -> None:
    seeds = sorted({*SEEDS, *KEPT})
    figures = Figures()
    for found in live_through(seeds):
        figures += found
        for seed, words in found.failures.items():
            sys.stdout.write(f"TEST_FIRST_SEED={seed} TEST_SEEDS=1\n{words}\n\n")
    sys.stdout.write(f"{figures.words}\n")
    assert list(figures.failures) == []
    assert figures.runs > len(seeds), "there was something to check"


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("seed", [3, 4])
def test_a_seed_tells_the_same_story_each_time(seed: int) -> None:
    one, other = live(seed), live(seed)
    assert one.trace == other.trace
    assert one.trace != live(seed + 1000).trace
