"""Random rules and random policies."""

from __future__ import annotations

import random
from typing import Any

import pendulum

from kalends.triggers import Trigger, cron, dates, every, once, weekdays

__all__ = ["CATCH_UPS", "OVERLAPS", "policies", "rule"]

OVERLAPS = ("skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all")
CATCH_UPS = ("skip", "latest", "earliest", "all")
_ZONES = (
    "Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns",
    "Antarctica/Troll", "UTC",
)  # fmt: skip


def rule(rng: random.Random, start: pendulum.DateTime, second: int, jitter: float) -> Trigger:
    """A rule that is due now and then from ``second`` on, in a world that began at ``start``.

    ``jitter`` is how likely it has one.
    """
    around = start.add(seconds=second)
    kind = rng.randrange(10)
    if kind < 5:
        found = simple(rng, start)
    elif kind < 9:
        found = combined(rng, start, around)
    else:
        found = once(around.add(seconds=rng.randint(1, 100)))
    if rng.random() < jitter:
        found = found.jitter(rng.choice((0.5, 3, 20, 120)))
    return found


def simple(rng: random.Random, start: pendulum.DateTime) -> Trigger:
    """Not combined of others. Zones and what becomes of a skipped or repeated hour vary."""
    zone = rng.choice(_ZONES)
    changes: dict[str, Any] = {
        "gap": rng.choice(("edge", "shift", "skip")),
        "fold": rng.choice(("first", "last", "both")),
    }
    found: Trigger = rng.choice(
        (
            every(seconds=rng.choice((2, 3, 5, 10, 17, 60)), anchor=start),
            every(seconds=rng.choice((2, 3, 5, 10, 17, 60)), anchor=start),
            cron(f"*/{rng.choice((5, 7, 20))} * * * * *", tz=zone),
            cron("* * * * *", tz=zone),
            cron(f"*/30 {rng.choice(('0-10', '25-35', '55-59,0-5', '*/2'))} 1-3 * * *", tz=zone),
            cron("15 30 2 * * *", tz=zone, **changes),
            cron("0/10 0,30,59 1,2,3 * * *", tz=zone, **changes),
        )
    )
    return found


def combined(rng: random.Random, start: pendulum.DateTime, around: pendulum.DateTime) -> Trigger:
    """A union, an intersection, an exclusion, or what is bounded, by number or by time."""
    one, other = simple(rng, start), simple(rng, start)
    kind = rng.randrange(7)
    if kind == 0:
        return one | other
    if kind == 1:
        return one - every(seconds=13, anchor=start)
    if kind == 2:
        return every(seconds=2, anchor=start) & every(seconds=3, anchor=start)
    if kind == 3:
        return every(seconds=9, anchor=start).limit(rng.randint(1, 12), anchor=start)
    if kind == 4:
        length = rng.randint(10, 200)
        return every(seconds=4, anchor=start).between(around, around.add(seconds=length))
    days = weekdays(rng.choice(("sat", "sun"))) if kind == 5 else dates(start.date(), start.date())
    return (one - days) | every(seconds=11, anchor=start)


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
        "retry_jitter": rng.choice((0.0, 0.0, 0.1, 1.0)),
        "retry_on": rng.choice(((), (), ("OSError",), ("ValueError", "LookupError"))),
        "give_up_on": rng.choice(((), (), ("ValueError",))),
        "timeout": rng.choice((None, None, 4.0151, 15.0151)),
        "pause_after_failures": rng.choice((None, None, None, 2, 4)),
        "priority": rng.choice((0, 0, 5, -5)),
        "concurrency_limit": rng.choice((None, None, None, "one", "two")),
    }
    return given
