"""What a seed decides: the nodes, the events, and which faults there are, how often.

Not every story has every fault: where all rain at once, none goes far, and what takes two of a kind
is rarely seen. So each story leaves some out and has more of the others.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pendulum
from tests.model.rules import policies

from kalends.triggers import Trigger, cron, every, once

__all__ = ["START", "Rates", "Story", "draw_policies", "draw_rule", "draw_story"]

START = pendulum.datetime(2027, 3, 27, 23, 40, tz="UTC")
"""Shortly before a night in which clocks change."""


@dataclass(frozen=True)
class Rates:
    """How likely a fault is, each time it could happen."""

    kill: float
    """The process dies, at a step of a transaction."""
    refuse: float
    """The database refuses a step; what was to be written is not."""
    lose: float
    """A commit is told to have failed, and has come to pass."""
    freeze: float
    """The process stands still at a step, often past its lease."""
    swap: float
    """Another process has its turn first, in the middle of what this one does."""
    delay: float
    """A message is under way for a while; others overtake it, none of the same sender's."""
    crash: float
    """An actor fails at a message, before or after it has handled it."""
    poison: float
    """A job kills its process."""
    hang: float
    """A job does not end before the faults do."""


@dataclass(frozen=True)
class Story:
    """One seed's."""

    seed: int
    nodes: int
    one_host: bool
    """A dead process is known at once to the others of its host, else when its lease has ended."""
    on_file: bool
    """The database is a file, with a connection for each node; else all share one in memory."""
    skew: float
    """By how many seconds the clock of the second node is ahead."""
    seconds: int
    """How long faults rain."""
    lease: float
    claim_ahead: float
    rates: Rates
    acts: tuple[str, ...]
    """What may be done, each as often as it is likely."""


_KINDS: dict[str, tuple[float, ...]] = {
    "kill": (0.0, 0.0, 0.0005, 0.001, 0.004),
    "refuse": (0.0, 0.0, 0.01, 0.05, 0.2),
    "lose": (0.0, 0.0, 0.01, 0.1),
    "freeze": (0.0, 0.001, 0.004),
    "swap": (0.0, 0.05, 0.3),
    "delay": (0.0, 0.0, 0.1, 0.5),
    "crash": (0.0, 0.0, 0.002, 0.01),
    "poison": (0.0, 0.0, 0.0, 0.05),
    "hang": (0.0, 0.0, 0.05, 0.2),
}
_USER = (
    "pause", "resume", "tag", "policies", "trigger", "trigger_now", "skip_next", "move_next",
    "backfill", "cancel", "release",
)  # fmt: skip
_THEMES: dict[str, tuple[str, ...]] = {
    "any": (*_USER, *_USER, "create", "delete", "kill", "shut_down", "jump", "outage", "freeze"),
    "edits": (*_USER, *_USER, *_USER, "trigger", "trigger", "pause", "resume", "create", "delete"),
    "deaths": ("kill", "kill", "freeze", "shut_down", "trigger_now", "backfill", "cancel"),
    "clocks": ("jump", "jump", "kill", "freeze", "move_next", "skip_next", "trigger_now", "pause"),
    "outages": ("outage", "outage", "pause", "resume", "tag", "trigger_now", "kill", "cancel"),
    "nothing": ("idle",),
}


def draw_story(seed: int) -> Story:
    """The story of a seed."""
    rng = random.Random(f"story/{seed}")
    nodes = rng.choice((1, 2, 2, 2))
    one_host = rng.random() < 0.3
    theme = rng.choice(("any", "any", "edits", "deaths", "deaths", "clocks", "outages", "nothing"))
    return Story(
        seed=seed,
        nodes=nodes,
        one_host=one_host,
        on_file=rng.random() < 0.1,
        skew=0.0 if one_host or nodes == 1 else rng.choice((0.0, 0.3, -0.9)),
        seconds=rng.choice((80, 120, 180)),
        lease=rng.choice((12.0, 15.0)),
        claim_ahead=rng.choice((0.25, 0.25, 3.0)),
        rates=Rates(**{kind: rng.choice(rates) for kind, rates in _KINDS.items()}),
        acts=_THEMES[theme],
    )


def draw_rule(rng: random.Random) -> Trigger:
    """A rule that is due every few seconds, or now and then."""
    found: Trigger = rng.choice(
        (
            every(seconds=rng.choice((7, 10, 20, 45)), anchor=START),
            every(seconds=rng.choice((15, 30, 60)), anchor=START),
            cron(f"*/{rng.choice((20, 30))} * * * * *", tz="Europe/Oslo"),
            every(seconds=30, anchor=START) | every(seconds=45, anchor=START),
            every(seconds=15, anchor=START).limit(8),
            once(START.add(seconds=rng.randint(1, 250))),
        )
    )
    return found.jitter(rng.choice((0.5, 3))) if rng.random() < 0.2 else found


def draw_policies(rng: random.Random) -> dict[str, Any]:
    """Policies under which what is left behind is soon caught up with."""
    given = policies(rng)
    return given | {
        "catch_up_limit": rng.choice((1, 2, 4)),
        "buffer_limit": rng.choice((1, 3)),
        "retry_max_delay": float(rng.choice((2, 20))),
        "executor": rng.choice((None, "thread", "greenlet")),
    }
