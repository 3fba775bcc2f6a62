"""Random schedules and what befalls them, from a seed.

Instants lie on whole seconds, what is done to the schedule a little after half of one, and
everything a job does takes a whole number of seconds and a little more: so no two things that
matter happen at one moment, and an order between them need not be guessed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pendulum
from tests.model.parts import US, Ending

from kalends.clock import from_us
from kalends.triggers import Trigger, cron, every, once

START = pendulum.datetime(2027, 3, 28, tz="UTC")
"""An hour before the clocks of Europe go forward."""
_LITTLE = 30_100
"""Microseconds beyond a whole second that an attempt takes: eight of them make no quarter."""
_HALF = 507_100
"""Microseconds after a whole second at which something is done."""

OVERLAPS = ("skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all")
_ERRORS = (("ValueError",), ("ConnectionError", "OSError"), ("KeyError", "LookupError"))
CATCH_UPS = ("skip", "latest", "earliest", "all")


@dataclass
class Step:
    """Something done to the schedule, ``at`` microseconds after the start of real time."""

    at: int
    verb: str
    event: str = ""
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class RandomWorld:
    """A schedule, its jobs and its accidents, all from one seed."""

    seed: int
    end: int
    """Microseconds of real time."""
    limits: dict[str, int]
    steps: list[Step]

    def ending(self, event: str, due: int, attempt: int) -> Ending:
        """How an attempt goes; the same for the model and for the real thing."""
        rng = random.Random(f"{self.seed}/{event}/{due}/{attempt}")
        after = rng.choice((0, 0, 1, 2, 3, 5, 8, 20, 60)) * US + _LITTLE + rng.randrange(500)
        kind = rng.choice(("ok", "ok", "ok", "fail", "fail", "fail", "retry", "snooze", "cancel"))
        if kind == "fail":
            names = rng.choice(_ERRORS)
            return Ending(after, kind, error=(*names, "Exception"))
        if kind in ("retry", "snooze"):
            return Ending(after, kind, delay=rng.choice((1, 4, 9)) * US)
        return Ending(after, kind)


def make_world(seed: int) -> RandomWorld:
    """The world of a seed."""
    rng = random.Random(seed)
    length = rng.choice((120, 300, 900))
    names = [f"event-{number}" for number in range(rng.randint(1, 3))]
    steps = [
        Step(0, "create", name, {"trigger": rule(rng, START), **policies(rng)}) for name in names
    ]
    for _ in range(rng.randint(0, 8)):
        steps += list(_accident(rng, names, rng.randrange(1, length)))
    steps = _in_order(steps)
    end = max(length * US, steps[-1].at // US * US + 60 * US) + _HALF
    return RandomWorld(seed, end, {"one": 1, "two": 2}, steps)


def _in_order(steps: list[Step]) -> list[Step]:
    """The steps by time, no two at one moment, and none while no process is there to take it."""
    kept: list[Step] = []
    back: Step | None = None
    for step in sorted(steps, key=lambda step: step.at):
        if back is not None and step is not back:
            continue
        if step.verb == "start":
            if step is not back:
                continue
            back = None
        if step.verb in ("kill", "shut_down"):
            back = step.values.pop("back")
        kept.append(step)
    for place, step in enumerate(kept):
        step.at += place if step.at else 0
    return kept


def _accident(rng: random.Random, names: list[str], second: int) -> Iterator[Step]:
    at, name = second * US + _HALF, rng.choice(names)
    verb = rng.choice(
        ("pause", "pause", "resume", "resume", "delete", "trigger", "policies", "kill", "kill",
         "shut_down", "jump", "trigger_now", "skip_next", "move_next")
    )  # fmt: skip
    if verb == "pause":
        seconds = rng.choice((None, 20, 60))
        yield Step(at, verb, name, {"seconds": seconds})
    elif verb == "trigger":
        yield Step(at, verb, name, {"trigger": rule(rng, START.add(seconds=second))})
    elif verb == "policies":
        yield Step(at, verb, name, policies(rng))
    elif verb in ("kill", "shut_down"):
        back = Step(at + rng.choice((1, 7, 30, 200, 4000)) * US, "start")
        yield Step(at, verb, values={"back": back})
        yield back
    elif verb == "jump":
        yield Step(at, verb, values={"seconds": rng.choice((-30, -3, 4, 50, 3600))})
    elif verb == "skip_next":
        yield Step(at, verb, name, {"count": rng.choice((1, 1, 2))})
    elif verb == "move_next":
        yield Step(at, verb, name, {"seconds": rng.choice((1, 5, 40))})
    else:
        yield Step(at, verb, name)


def rule(rng: random.Random, around: pendulum.DateTime) -> Trigger:
    """A rule that is due now and then within the world's length."""
    found: Trigger = rng.choice(
        (
            every(seconds=rng.choice((2, 3, 5, 10, 17, 60)), anchor=START),
            cron(f"*/{rng.choice((5, 7, 20))} * * * * *", tz="Europe/Oslo"),
            cron("* * * * *", tz="Europe/Oslo"),
            cron("15 30 2 * * *", tz="Europe/Oslo"),
            once(around.add(seconds=rng.randint(1, 100))),
            every(seconds=7, anchor=START) | every(seconds=10, anchor=START),
            every(seconds=2, anchor=START) - every(seconds=6, anchor=START),
            every(seconds=9, anchor=START).limit(rng.randint(1, 12), anchor=START),
        )
    )
    return found


def policies(rng: random.Random) -> dict[str, Any]:
    """Policies as keywords; what is not there is the default."""
    retries = rng.choice((0, 0, 1, 3))
    once_only = rng.random() < 0.2
    given: dict[str, Any] = {
        "catch_up": rng.choice(CATCH_UPS),
        "catch_up_window": float(rng.choice((10, 100, 86_400))),
        "catch_up_limit": rng.choice((2, 5, 100)),
        "overlap": rng.choice(OVERLAPS),
        "buffer_limit": rng.choice((1, 3, 1000)),
        "delivery": "at_most_once" if once_only else "at_least_once",
        "max_attempts": rng.choice((1, 2, 5)),
        "retries": 0 if once_only else retries,
        "retry_delay": float(rng.choice((1, 3))),
        "retry_backoff": rng.choice(("constant", "linear", "exponential")),
        "retry_max_delay": float(rng.choice((2, 60))),
        "retry_jitter": 0.0,
        "retry_on": rng.choice(((), (), ("OSError",), ("ValueError", "LookupError"))),
        "give_up_on": rng.choice(((), (), ("ValueError",))),
        "timeout": rng.choice((None, None, 4.0151, 15.0151)),
        "pause_after_failures": rng.choice((None, None, None, 2, 4)),
        "priority": rng.choice((0, 0, 5, -5)),
        "concurrency_limit": rng.choice((None, None, None, "one", "two")),
    }
    return given


def wall(us: int) -> pendulum.DateTime:
    """An instant for people."""
    return from_us(us)
