"""The real ledger is the one that the reference predicts, and ``explain`` tells it, world by world.

``TEST_WORLDS`` says how many worlds (default 60) and ``TEST_FIRST_WORLD`` with which seed to begin;
``tox -e full`` lives through thousands. A world is its seed: what fails once fails again.
"""

from __future__ import annotations

import os
import random

import pytest
from tests.model.driving import Account, Real, predict
from tests.model.worlds import make_world

from kalends.explanation import Explanation, Standing

FIRST = int(os.environ.get("TEST_FIRST_WORLD", "0"))
WORLDS = range(FIRST, FIRST + int(os.environ.get("TEST_WORLDS", "60")))
ASKED = 12
"""Instants of each event that are explained, and as many beside them."""
UNTOLD = {
    "active": (Standing.EXPECTED, Standing.WAITING),
    "paused": (Standing.PARKED,),
    "quarantined": (Standing.PARKED,),
    "completed": (Standing.NOT_DUE,),
    "deleted": (Standing.DELETED,),
}
"""How an instant stands that is or will be due and has no fate, by the status of its event."""


@pytest.mark.parametrize("seed", WORLDS)
def test_the_ledger_is_the_one_that_the_reference_predicts(seed: int) -> None:
    world = make_world(seed)
    real = Real(world)
    predicted, lived = predict(world), real.live()
    assert sorted(lived) == sorted(predicted)
    for name, account in predicted.items():
        assert lived[name] == account, f"{name} in the world of seed {seed}"
        check_explanations(real, name, account, random.Random(seed))


def check_explanations(real: Real, name: str, account: Account, rng: random.Random) -> None:
    """``explain`` agrees with the account, at instants with a fate, beside them and ahead."""
    told = sorted(account.fates)
    for at in rng.sample(told, min(ASKED, len(told))):
        found = real.explain(name, at)
        fate, reason = account.fates[at]
        assert _plain(found) == (fate, reason), (name, at, found)
        assert found.due or fate != "skipped", (name, at)
        beside = real.explain(name, at + 0.25)
        assert beside.fate is None or beside.execution is not None, (name, at)
        assert beside.standing in (*_NOTHING, Standing.RAN, Standing.SKIPPED), (name, at)
    if account.next_due is not None:
        ahead = real.explain(name, account.next_due)
        assert ahead.due
        assert ahead.standing in UNTOLD[account.status], (name, ahead)


_NOTHING = (Standing.NOT_DUE, Standing.UNACCOUNTED, Standing.DELETED)


def _plain(found: Explanation) -> tuple[str, str | None]:
    fate = "pending" if found.fate == "running" else str(found.fate)
    return fate, None if found.reason is None else str(found.reason)


def test_worlds_have_everything_in_them() -> None:
    """What a random world may hold does turn up: else agreement would prove little."""
    verbs, fates = set(), set()
    for seed in range(200):
        world = make_world(seed)
        verbs |= {step.verb for step in world.steps}
        for account in predict(world).values():
            fates |= set(account.fates.values())
    assert verbs >= {
        "create", "pause", "resume", "delete", "trigger", "policies", "kill", "shut_down", "jump",
        "trigger_now", "skip_next", "move_next",
    }  # fmt: skip
    assert {fate for fate, _ in fates} >= {
        "succeeded", "failed", "timed_out", "cancelled", "lost", "skipped",
    }  # fmt: skip
    assert {reason for _, reason in fates} >= {
        "missed", "coalesced", "overlap", "paused", "excluded_once", "queue_full",
        "deleted", "exhausted", "process_died",
    }  # fmt: skip
