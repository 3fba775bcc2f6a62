"""What became of an event, in the words in which two ledgers are compared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import msgspec
from tests.model.parts import US
from tests.model.reference import Reference
from tests.model.worlds import RandomWorld, Step

from kalends.clock import to_us
from kalends.policies import Policies

__all__ = [
    "Account", "BackfillAccount", "Ids", "account", "backfills", "predict", "span", "until",
    "wanted", "where",
]  # fmt: skip


class Account(msgspec.Struct):
    """What became of one event. Instants in microseconds."""

    status: str
    next_due: int | None
    fates: dict[int, tuple[str, str | None]]
    attempts: dict[int, list[str]]
    manual: list[tuple[str, str | None]]


class BackfillAccount(msgspec.Struct):
    """What a backfill was to do, and what became of its executions."""

    planned: int
    existing: int
    remaining: int
    resume_from: int | None
    fates: dict[str, int]


Ids = dict[str | tuple[str, int], str]
"""The ids of events by name, and of executions by the name of their event and their instant."""


def predict(world: RandomWorld, ids: Ids) -> Reference:
    """The reference, having lived through the world; a process is there in the end."""
    model = Reference(to_us(world.start), world.ending, world.limits, ids)
    for step in world.steps:
        model.advance_to(step.at)
        if step.verb != "create" and step.event and step.event not in model.events:
            continue  # its creation was refused
        if step.crash is None:
            _VERBS[step.verb](model, step)
        else:
            model.crash(step.crash, functools.partial(_VERBS[step.verb], model, step))
    model.advance_to(world.end)
    if not model.up:
        model.start()
    return model


def account(model: Reference, name: str) -> Account:
    """What the reference says of an event."""
    event = model.events[name]
    return Account(
        event.status,
        event.next_due,
        model.ledger(name),
        model.attempts(name),
        sorted(model.manual(name), key=str),
    )


def backfills(model: Reference) -> list[BackfillAccount]:
    """What the reference says of each backfill."""
    return [
        BackfillAccount(
            plan.planned, plan.existing, plan.remaining, plan.resume_from, model.progress(number)
        )
        for number, plan in enumerate(model.backfills)
    ]


# -- what is done ------------------------------------------------------------------------------


def wanted(step: Step) -> dict[str, Any]:
    """The policies of a step."""
    return {key: value for key, value in step.values.items() if key != "trigger"}


def where(now: int, step: Step) -> int:
    """The instant that something is moved to."""
    seconds: int = step.values["seconds"]
    return (now // US + seconds) * US


def until(now: int, step: Step) -> int | None:
    """The end of a pause."""
    seconds = step.values.get("seconds")
    return None if seconds is None else now + seconds * US


def span(now: int, step: Step) -> tuple[int, int]:
    """The range of a backfill: up to now, or less far."""
    start = (now // US - step.values["back"]) * US
    return start, min(start + step.values["length"] * US, now)


def _policies(step: Step) -> Policies:
    return Policies(**wanted(step))


def _cancel_backfill(model: Reference, step: Step) -> None:
    mine = [number for number, plan in enumerate(model.backfills) if plan.event.name == step.event]
    if mine:
        model.cancel_backfill(mine[-1])


_VERBS: dict[str, Callable[[Reference, Step], object]] = {
    "create": lambda model, step: model.create(step.event, step.values["trigger"], _policies(step)),
    "pause": lambda model, step: model.pause(step.event, until(model.now, step)),
    "resume": lambda model, step: model.resume(step.event),
    "release": lambda model, step: model.release(step.event),
    "delete": lambda model, step: model.delete(step.event),
    "trigger": lambda model, step: model.reschedule(step.event, step.values["trigger"]),
    "policies": lambda model, step: model.set_policies(step.event, _policies(step)),
    "skip_next": lambda model, step: model.skip_next(step.event, step.values["count"]),
    "move_next": lambda model, step: model.move_next(step.event, where(model.now, step)),
    "trigger_now": lambda model, step: model.trigger_now(step.event, step.values["overlap"]),
    "backfill": lambda model, step: model.backfill(
        step.event, *span(model.now, step), step.values["limit"]
    ),
    "cancel_backfill": _cancel_backfill,
    "cancel": lambda model, step: model.cancel_execution(step.event, step.values["place"]),
    "break": lambda model, step: model.gone.add(step.event),
    "mend": lambda model, step: model.gone.discard(step.event),
    "kill": lambda model, step: model.kill(),
    "shut_down": lambda model, step: model.shut_down(),
    "start": lambda model, step: model.start(),
    "jump": lambda model, step: model.jump(step.values["seconds"] * US),
}
