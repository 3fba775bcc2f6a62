"""One world, lived through twice: by the reference, and by the real scheduler in virtual time."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import msgspec
import pendulum
from tests.model.parts import US
from tests.model.reference import Reference
from tests.model.worlds import START, RandomWorld, Step

import kalends
from kalends import Event, Fate, Gap, KalendsError, Registry
from kalends.clock import from_us, to_us
from kalends.explanation import Explanation
from kalends.policies import Policies
from kalends.testing import VirtualScheduler
from kalends.triggers import Trigger

__all__ = ["Account", "Real", "predict"]


class Account(msgspec.Struct):
    """What became of one event. Instants in seconds since the start."""

    status: str
    next_due: float | None
    fates: dict[float, tuple[str, str | None]]
    attempts: dict[float, list[str]]
    manual: list[tuple[str, str | None]]


def _seconds(us: int) -> float:
    return (us - to_us(START)) / US


# -- the reference -----------------------------------------------------------------------------


def predict(world: RandomWorld) -> dict[str, Account]:
    """The accounts as the reference keeps them."""
    model = Reference(to_us(START), world.ending, world.limits)
    for step in world.steps:
        model.advance_to(step.at)
        _PREDICTED[step.verb](model, step)
    model.advance_to(world.end)
    if not model.up:
        model.start()
    accounts = {}
    for name, event in model.events.items():
        due = event.next_due
        accounts[name] = Account(
            event.status,
            None if due is None else _seconds(due),
            {_seconds(at): fate for at, fate in model.ledger(name).items()},
            {_seconds(at): told for at, told in model.attempts(name).items()},
            sorted(model.manual(name), key=str),
        )
    return accounts


def _policies(values: dict[str, Any]) -> Policies:
    return Policies(**{key: value for key, value in values.items() if key != "trigger"})


_PREDICTED: dict[str, Callable[[Reference, Step], None]] = {
    "create": lambda model, step: model.create(
        step.event, step.values["trigger"], _policies(step.values)
    ),
    "pause": lambda model, step: model.pause(step.event, _until(model.now, step)),
    "resume": lambda model, step: model.resume(step.event),
    "delete": lambda model, step: model.delete(step.event),
    "trigger": lambda model, step: model.reschedule(step.event, step.values["trigger"]),
    "policies": lambda model, step: model.set_policies(step.event, _policies(step.values)),
    "skip_next": lambda model, step: model.skip_next(step.event, step.values["count"]),
    "move_next": lambda model, step: model.move_next(step.event, _to(model.now, step)),
    "trigger_now": lambda model, step: model.trigger_now(step.event),
    "kill": lambda model, step: model.kill(),
    "shut_down": lambda model, step: model.shut_down(),
    "start": lambda model, step: model.start(),
    "jump": lambda model, step: model.jump(step.values["seconds"] * US),
}


def _to(now: int, step: Step) -> int:
    seconds: int = step.values["seconds"]
    return (now // US + seconds) * US


def _until(now: int, step: Step) -> int | None:
    seconds = step.values.get("seconds")
    return None if seconds is None else now + seconds * US


# -- the real thing ----------------------------------------------------------------------------


_EXPECTED = ("TRANSITION_REFUSED", "EVENT_NOT_FOUND", "VALIDATION_FAILED")
"""What a verb may be refused for: a status that does not allow it, a rule that has ended."""


class Real:
    """The world in the real scheduler."""

    def __init__(self, world: RandomWorld) -> None:
        self.world = world
        registry = Registry()
        registry.register(lambda: None, "work")
        names = [step.event for step in world.steps if step.verb == "create"]
        self.scheduler = VirtualScheduler(
            start=START,
            seed=world.seed,
            registry=registry,
            durations={name: self._duration(name) for name in names},
            failures={name: self._failure(name) for name in names},
            workers=64,
            claim_ahead=0.01,  # as short as what lies between two things that matter
            concurrency_limits=world.limits,
        )
        self.ids: dict[str, str] = {}
        self._rules: dict[str, list[tuple[int, Trigger]]] = {}
        """By event: from which version on it had which rule."""

    def _duration(self, name: str) -> Callable[..., float]:
        def duration(due: pendulum.DateTime, attempt: int, _: Any) -> float:
            return self.world.ending(name, to_us(due), attempt).after / US

        return duration

    def _failure(self, name: str) -> Callable[..., BaseException | None]:
        def failure(due: pendulum.DateTime, attempt: int, _: Any) -> BaseException | None:
            ending = self.world.ending(name, to_us(due), attempt)
            if ending.kind == "ok":
                return None
            if ending.kind == "fail":
                error: BaseException = getattr(builtins, ending.error[0])("as told")
                return error
            if ending.kind == "cancel":
                return kalends.Cancel("as told")
            assert ending.delay is not None
            if ending.kind == "retry":
                return kalends.Retry(ending.delay / US)
            return kalends.Snooze(ending.delay / US)

        return failure

    def live(self) -> dict[str, Account]:
        """Live through the whole world; what the ledger says then."""
        self.scheduler.start()
        for step in self.world.steps:
            self._advance_to(step.at)
            _DONE[step.verb](self, step)
        self._advance_to(self.world.end)
        if not self.scheduler.alive:
            self.scheduler.start()
        self.check()
        return {name: self._account(event_id) for name, event_id in self.ids.items()}

    def check(self) -> None:
        """The ledger is in order, by its own account."""
        verified = self.scheduler.verify()
        assert verified.ok, verified.violations

    def explain(self, name: str, at: float) -> Explanation:
        """Why an instant, in seconds since the start, ran or did not."""
        instant = from_us(to_us(START) + round(at * US))
        return self.scheduler.explain(self.ids[name], instant)

    def _advance_to(self, mono: int) -> None:
        self.scheduler.advance((mono - self.scheduler.clock.monotonic_us) / US)

    def event(self, step: Step) -> Event:
        return self.scheduler.get_event(self.ids[step.event], deleted=True)

    def on(self, step: Step, verb: Callable[..., Any], **values: Any) -> None:
        """Call a verb on the event of the step, where its status allows that."""
        try:
            verb(self.ids[step.event], **values)
        except KalendsError as refusal:
            if refusal.code not in _EXPECTED:
                raise

    def create(self, step: Step) -> None:
        event = self.scheduler.schedule_event(
            "work", name=step.event, **{**step.values, "trigger": step.values["trigger"]}
        )
        self.ids[step.event] = event.id
        self._rules[event.id] = [(event.version, event.trigger)]

    def reschedule(self, step: Step) -> None:
        self.on(step, self.scheduler.update_event, trigger=step.values["trigger"])
        event = self.event(step)
        if event.trigger != self._rules[event.id][-1][1]:
            self._rules[event.id].append((event.version, event.trigger))

    def _account(self, event_id: str) -> Account:
        scheduler = self.scheduler
        event = scheduler.get_event(event_id, deleted=True)
        fates: dict[float, tuple[str, str | None]] = {}
        attempts: dict[float, list[str]] = {}
        manual: list[tuple[str, str | None]] = []
        for execution in _all(scheduler.list_executions, event_id=event_id, descending=False):
            told = (_begun_or_not(execution.fate), _word(execution.reason))
            if execution.manual:
                manual.append(told)
                continue
            at = _seconds(to_us(execution.due))
            assert at not in fates
            fates[at] = told
            if execution.attempts:
                attempts[at] = [_begun_or_not(item.outcome) for item in execution.attempts]
        for gap in _all(scheduler.list_gaps, event_id=event_id):
            for instant in self._instants(gap):
                at = _seconds(to_us(instant))
                assert at not in fates
                fates[at] = (str(gap.fate), _word(gap.reason))
        due = event.next_due
        return Account(
            str(event.status),
            None if due is None else _seconds(to_us(due)),
            dict(sorted(fates.items())),
            dict(sorted(attempts.items())),
            sorted(manual, key=str),
        )

    def _instants(self, gap: Gap) -> list[pendulum.DateTime]:
        """The instants of a gap, by the rule that its event had then."""
        rules = self._rules[gap.event_id]
        rule = [trigger for version, trigger in rules if version <= gap.version][-1]
        found = list(rule.between(gap.first, gap.last.add(microseconds=1)))
        assert len(found) == gap.count
        return found


def _all(ask: Callable[..., Any], **query: Any) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        page = ask(**query, limit=1000, cursor=cursor)
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found


def _begun_or_not(fate: Fate) -> str:
    """A short run may never show that it has begun."""
    return str(Fate.PENDING if fate is Fate.RUNNING else fate)


def _word(value: Any) -> str | None:
    return None if value is None else str(value)


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "seconds"}


_DONE: dict[str, Callable[[Real, Step], object]] = {
    "create": Real.create,
    "pause": lambda real, step: real.on(
        step,
        real.scheduler.pause_event,
        **(
            {}
            if step.values["seconds"] is None
            else {"until": real.scheduler.now.add(seconds=step.values["seconds"])}
        ),
    ),
    "resume": lambda real, step: real.on(step, real.scheduler.resume_event),
    "delete": lambda real, step: real.on(step, real.scheduler.delete_event),
    "trigger": Real.reschedule,
    "policies": lambda real, step: real.on(step, real.scheduler.update_event, **step.values),
    "skip_next": lambda real, step: real.on(
        step, real.scheduler.skip_next, count=step.values["count"]
    ),
    "move_next": lambda real, step: real.on(
        step,
        real.scheduler.move_next,
        to=from_us(_to(to_us(real.scheduler.now), step)),
    ),
    "trigger_now": lambda real, step: real.on(step, real.scheduler.trigger_now),
    "kill": lambda real, step: real.scheduler.kill(),
    "shut_down": lambda real, step: real.scheduler.shutdown(0.0),
    "start": lambda real, step: real.scheduler.start(),
    "jump": lambda real, step: real.scheduler.jump(step.values["seconds"]),
}
