"""Random schedules and what befalls them, from a seed.

Instants lie on whole seconds, what is done to the schedule a little after half of one, and
everything a job does takes a whole number of seconds and a little more: so no two things that
matter happen at one moment, and an order between them need not be guessed.

A world has a *theme*: what it has most of. Else what is rare would hardly ever meet what it
concerns: a new rule an instant that is due and undecided, a kill a backfill under way.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pendulum
from tests.model.parts import US, Ending
from tests.model.rules import policies, rule

__all__ = ["RandomWorld", "Step", "make_world"]

_LITTLE = 30_100
"""Microseconds beyond a whole second that an attempt takes: eight of them make no quarter."""
_HALF = 507_100
"""Microseconds after a whole second at which something is done."""
_ERRORS = (("ValueError",), ("ConnectionError", "OSError"), ("KeyError", "LookupError"))
_CHANGES = (  # of clocks, somewhere
    pendulum.datetime(2027, 3, 28, 1, tz="UTC"),
    pendulum.datetime(2027, 10, 31, 1, tz="UTC"),
    pendulum.datetime(2027, 3, 14, 7, tz="UTC"),
    pendulum.datetime(2027, 11, 7, 6, tz="UTC"),
    pendulum.datetime(2027, 4, 3, 15, tz="UTC"),
    pendulum.datetime(2027, 10, 2, 15, 30, tz="UTC"),
)
_COMMON = (
    "pause", "resume", "trigger", "policies", "trigger_now", "skip_next", "move_next", "cancel",
)  # fmt: skip
_VERBS = {
    "any": (
        *_COMMON, *_COMMON, "delete", "kill", "kill", "kill", "shut_down", "jump", "jump", "create",
        "backfill", "backfill", "cancel_backfill", "break", "release",
    ),
    "edits": (*_COMMON, "trigger", "trigger", "trigger", "delete", "kill", "policies"),
    "backfills": (
        "pause", "resume", "backfill", "backfill", "backfill", "cancel_backfill", "kill", "kill",
        "cancel",
        "trigger", "shut_down", "skip_next", "jump",
    ),
    "breakage": ("break", "break", "release", "release", "trigger", "trigger_now", "backfill",
                 "move_next", "pause", "delete", "kill"),
}  # fmt: skip
_JITTER = {"any": 0.2, "edits": 0.8, "backfills": 0.2, "breakage": 0.3}
_OFFLINE = {
    "create", "pause", "resume", "delete", "trigger", "policies", "skip_next", "move_next",
    "backfill", "cancel_backfill", "cancel", "break", "mend", "release", "jump",
}  # fmt: skip
"""What may be done while no process runs events: the rest needs one."""


@dataclass
class Step:
    """Something done to the schedule, ``at`` microseconds after the start of real time."""

    at: int
    verb: str
    event: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    crash: str | None = None
    """The process is killed when the verb is about to be durable (``before``), or just is."""
    back: Step | None = None
    """Where that ends the process: when the next one begins."""


@dataclass
class RandomWorld:
    """A schedule, its jobs and its accidents, all from one seed."""

    seed: int
    start: pendulum.DateTime
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
    theme = rng.choice(("any", "any", "edits", "edits", "backfills", "backfills", "breakage"))
    length = rng.choice((120, 300, 900))
    start = rng.choice(_CHANGES).subtract(seconds=rng.randint(0, length))
    maker = _Maker(rng, theme, start)
    names = [f"event-{number}" for number in range(rng.randint(1, 3))]
    steps = [maker.create(0, name) for name in names]
    for _ in range(rng.randint(0, 8) if theme == "any" else rng.randint(3, 12)):
        steps += list(maker.accident(names, rng.randrange(1, length)))
    steps = _in_order(steps)
    end = max(length * US, steps[-1].at // US * US + 60 * US) + _HALF
    return RandomWorld(seed, start, end, {"one": 1, "two": 2}, steps)


def _in_order(steps: list[Step]) -> list[Step]:
    """The steps by time, no two at one moment; in an outage, only what needs no process."""
    kept: list[Step] = []
    known: set[str] = set()
    back: Step | None = None
    for step in sorted(steps, key=lambda step: step.at):
        if step.verb == "create":
            known.add(step.event)
        if step.event and step.event not in known:
            continue
        if back is not None and step is not back:
            if step.verb not in _OFFLINE:
                continue
            step.crash = None
        if step.verb == "start":
            if step is not back:
                continue
            back = None
        if step.verb in ("kill", "shut_down") or step.crash is not None:
            back = step.back
        kept.append(step)
    for place, step in enumerate(kept):
        step.at += place if step.at else 0
    return kept


class _Maker:
    """Makes what befalls a world."""

    def __init__(self, rng: random.Random, theme: str, start: pendulum.DateTime) -> None:
        self.rng = rng
        self.theme = theme
        self.start = start

    def create(self, at: int, name: str) -> Step:
        return Step(at, "create", name, {"trigger": self.rule(at // US), **self.policies()})

    def policies(self) -> dict[str, Any]:
        given = policies(self.rng)
        if self.theme == "edits" and self.rng.random() < 0.4:
            given["concurrency_limit"] = "one"
        return given

    def rule(self, second: int) -> Any:
        return rule(self.rng, self.start, second, _JITTER[self.theme])

    def accident(self, names: list[str], second: int) -> Iterator[Step]:
        rng, at = self.rng, second * US + _HALF
        name, verb = rng.choice(names), rng.choice(_VERBS[self.theme])
        back = Step(at + rng.choice((1, 7, 30, 200, 4000)) * US, "start")
        if verb in ("kill", "shut_down"):
            yield Step(at, verb, back=back)
            yield back
        elif verb == "jump":
            yield Step(at, verb, values={"seconds": rng.choice((-30, -3, 4, 50, 3600))})
        elif verb == "create":
            names.append(f"event-{len(names)}")
            yield self.create(at, names[-1])
        elif verb == "break":
            yield Step(at, verb, name)
            yield Step(at + rng.choice((5, 30, 100, 300)) * US, "mend", name)
        else:
            crash = rng.choice(("before", "after")) if rng.random() < 0.1 else None
            if verb == "cancel_backfill":
                crash = None  # it reads first, in a transaction of its own
            yield Step(at, verb, name, self._values(verb, second), crash, back)
            yield back

    def _values(self, verb: str, second: int) -> dict[str, Any]:
        rng, values = self.rng, dict[str, Any]()
        if verb == "pause":
            values = {"seconds": rng.choice((None, 20, 60))}
        elif verb == "trigger":
            values = {"trigger": self.rule(second)}
        elif verb == "policies":
            values = self.policies()
        elif verb == "skip_next":
            values = {"count": rng.choice((1, 1, 2))}
        elif verb == "move_next":
            values = {"seconds": rng.choice((1, 5, 40))}
        elif verb == "trigger_now":
            values = {"overlap": rng.choice((None, None, *_OVERRIDES))}
        elif verb == "cancel":
            values = {"place": rng.randrange(4)}
        elif verb == "backfill":
            values = {
                "back": rng.choice((20, 60, 200, 200, 5000)),
                "length": rng.choice((10, 60, 10_000, 10_000)),
                "limit": rng.choice((1, 4, 30, 30)),
            }
        return values


_OVERRIDES = ("skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all")
