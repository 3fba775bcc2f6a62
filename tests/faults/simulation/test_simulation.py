"""Stories of faults, each from its seed: none may break what is promised, or leave anything undone.

``TEST_SEEDS`` says how many (default 30) and ``TEST_FIRST_SEED`` with which to begin; ``tox -e
simulation`` lives through ten thousand, on all processors. A story is its seed: what has failed
once fails again, and stays here.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from tests.faults.simulation.living import Figures, live, live_all

FIRST = int(os.environ.get("TEST_FIRST_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("TEST_SEEDS", "30")))
KEPT = (1126, 1164, 1340, 1358, 1398, 2008, 2045, 2106)
"""Seeds that have shown a mistake, of the system or of its simulation."""
_ALONE = 200
"""Up to so many are lived through in this process, one after the other."""
_PORTION = 50

pytestmark = pytest.mark.timeout(60 + len(SEEDS))


@pytest.mark.usefixtures("logged")
def test_whatever_happens_nothing_is_lost_and_all_that_was_due_gets_its_fate() -> None:
    seeds = sorted({*SEEDS, *KEPT})
    portions = [seeds[place : place + _PORTION] for place in range(0, len(seeds), _PORTION)]
    figures = Figures()
    if len(seeds) <= _ALONE:
        for portion in portions:
            figures += live_all(portion)
    else:
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            for found in pool.map(live_all, portions):
                figures += found
    sys.stdout.write(f"{figures.words}\n")
    assert not figures.failures, "\n\n".join(
        f"TEST_FIRST_SEED={seed} TEST_SEEDS=1\n{words}" for seed, words in figures.failures.items()
    )
    assert figures.runs > len(seeds), "there was something to check"


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("seed", [3, 4])
def test_a_seed_tells_the_same_story_each_time(seed: int) -> None:
    one, other = live(seed), live(seed)
    assert one.trace == other.trace
    assert one.trace != live(seed + 1000).trace
