"""The real ledger is the one that the reference predicts, and ``explain`` tells it, world by world.

``TEST_WORLDS`` says how many worlds (default 60) and ``TEST_FIRST_WORLD`` with which seed to begin;
``tox -e full`` lives through thousands. A world is its seed: what fails once fails again.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from tests.model.accounts import account, backfills, predict
from tests.model.agreeing import check_explanations
from tests.model.driving import Real
from tests.model.worlds import make_world

from kalends import Fate, Reason

CI_WORLDS = range(60)
FIRST = int(os.environ.get("TEST_FIRST_WORLD", "0"))
WORLDS = range(FIRST, FIRST + int(os.environ.get("TEST_WORLDS", str(len(CI_WORLDS)))))
FAILED_ONCE = (0, 6, 111, 191, 202, 220, 316, 329, 536, 730, 1873, 1932, 2425, 2468, 2801)
"""Worlds that have shown a mistake, of the system or of the model."""


@pytest.mark.parametrize("seed", sorted({*WORLDS, *FAILED_ONCE}))
def test_the_ledger_is_the_one_that_the_reference_predicts(seed: int) -> None:
    world = make_world(seed)
    real = Real(world)
    lived = real.live()
    model = predict(world, real.known_ids())
    assert sorted(lived) == sorted(model.events)
    for name, found in lived.items():
        assert found == account(model, name), f"{name} in the world of seed {seed}"
    assert real.accounts_of_backfills() == backfills(model)
    for event in model.events.values():
        check_explanations(real, model, event, random.Random(seed))


def test_every_fate_and_every_reason_turns_up_in_these_worlds() -> None:
    """Else agreement would prove little."""
    verbs: set[str] = set()
    found: Counter[tuple[str, str | None]] = Counter()
    for seed in CI_WORLDS:
        world = make_world(seed)
        verbs |= {step.verb for step in world.steps}
        model = predict(world, {})
        found.update(
            {
                told
                for name in model.events
                for told in (*model.ledger(name).values(), *model.manual(name))
            }
        )
    assert verbs == {
        "create", "pause", "resume", "release", "delete", "trigger", "policies", "skip_next",
        "move_next", "trigger_now", "backfill", "cancel_backfill", "cancel", "break", "mend",
        "kill", "shut_down", "start", "jump",
    }  # fmt: skip
    assert {fate for fate, _ in found} == {fate.value for fate in Fate} - {"running"}
    assert {reason for _, reason in found if reason is not None} == {
        reason.value for reason in Reason
    }
    assert found["skipped", "superseded"] >= 5, "in how many worlds an edit met what was due"
