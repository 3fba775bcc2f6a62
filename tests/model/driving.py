"""One world, lived through by the real scheduler in virtual time."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import pendulum
from tests.listing import every_one
from tests.model.accounts import Account, BackfillAccount, Ids, span, until, wanted, where
from tests.model.parts import US
from tests.model.worlds import RandomWorld, Step

import kalends
from kalends import Event, Fate, Gap, KalendsError, Registry, ValidationFailed
from kalends.clock import from_us, to_us
from kalends.explanation import Explanation
from kalends.jobs.registry import Job
from kalends.testing import ProcessKilled, StorageStep, VirtualScheduler
from kalends.triggers import Trigger
from kalends.verbs import Verbs

__all__ = ["Real"]

_EXPECTED = ("TRANSITION_REFUSED", "EVENT_NOT_FOUND", "VALIDATION_FAILED")
"""What a verb may be refused for: a status that does not allow it, a rule that has ended."""
_KILLED_AT = {None: None, "before": StorageStep.COMMIT, "after": StorageStep.COMMITTED}


class _Jobs(Registry):
    """A job for each event, some of which may be gone for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: set[str] = set()

    def find(self, name: str) -> Job | None:
        return None if name in self.gone else super().find(name)


class _Killer:
    """Kills the process at the commit of what is done next, before or after it."""

    def __init__(self) -> None:
        self.at: StorageStep | None = None
        self.kill: Callable[[], object] = lambda: None

    def __call__(self, step: StorageStep) -> None:
        if step is self.at:
            self.kill()


class Real:
    """The world in the real scheduler."""

    def __init__(self, world: RandomWorld) -> None:
        self.world = world
        self.jobs = _Jobs()
        names = [step.event for step in world.steps if step.verb == "create"]
        for name in names:
            self.jobs.register(lambda: None, name)
        self.killer = _Killer()
        self.scheduler = VirtualScheduler(
            start=world.start,
            seed=world.seed,
            registry=self.jobs,
            durations={name: self._duration(name) for name in names},
            failures={name: self._failure(name) for name in names},
            workers=4096,
            claim_ahead=0.0,  # what is claimed ahead would be seen to be
            concurrency_limits=world.limits,
            probe=self.killer,
        )
        self.killer.kill = self.scheduler.kill
        self.client: Verbs = self.scheduler.reader()
        """Somebody who changes the schedule while no process runs events."""
        self.ids: dict[str, str] = {}
        self.backfills: list[tuple[str, str]] = []
        """As (event, id)."""
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

    # -- living --------------------------------------------------------------------------------

    def live(self) -> dict[str, Account]:
        """Live through the whole world; what the ledger says then."""
        self.scheduler.start()
        self.client.start()  # type: ignore[attr-defined]
        for step in self.world.steps:
            self._advance_to(step.at)
            if step.verb == "create" or not step.event or step.event in self.ids:
                _DONE[step.verb](self, step)
            if step.crash is not None:
                self.scheduler.kill()
        self._advance_to(self.world.end)
        if not self.scheduler.alive:
            self.scheduler.start()
        self.check()
        return {name: self._account(event_id) for name, event_id in self.ids.items()}

    def check(self) -> None:
        """The ledger is in order, by its own account."""
        verified = self.scheduler.verify()
        assert verified.ok, verified.violations

    @property
    def at_hand(self) -> Verbs:
        """Where verbs are called."""
        return self.scheduler if self.scheduler.alive else self.client

    @property
    def now(self) -> int:
        return to_us(self.scheduler.now)

    def explain(self, name: str, at: int) -> Explanation:
        """Why an instant ran or did not."""
        return self.scheduler.explain(self.ids[name], from_us(at))

    def _advance_to(self, mono: int) -> None:
        self.scheduler.advance((mono - self.scheduler.clock.monotonic_us) / US)

    # -- verbs ---------------------------------------------------------------------------------

    def event(self, step: Step) -> Event:
        return self.at_hand.get_event(self.ids[step.event], deleted=True)

    def on(self, step: Step, verb: str, **values: Any) -> None:
        """Call a verb on the event of the step, where its status allows that."""
        self.call(step, verb, self.ids[step.event], **values)

    def call(self, step: Step, verb: str, subject: str, **values: Any) -> None:
        self.killer.at = _KILLED_AT[step.crash]
        try:
            getattr(self.at_hand, verb)(subject, **values)
        except ProcessKilled:
            assert step.crash is not None
        except KalendsError as refusal:
            if refusal.code not in _EXPECTED:
                raise
        finally:
            self.killer.at = None

    def create(self, step: Step) -> None:
        try:
            event = self.at_hand.schedule_event(
                step.event, step.values["trigger"], name=step.event, **wanted(step)
            )
        except ValidationFailed:  # all of its instants have passed
            return
        self.ids[step.event] = event.id
        self._rules[event.id] = [(event.version, event.trigger)]

    def reschedule(self, step: Step) -> None:
        self.on(step, "update_event", trigger=step.values["trigger"])
        event = self.event(step)
        if event.trigger != self._rules[event.id][-1][1]:
            self._rules[event.id].append((event.version, event.trigger))

    def pause(self, step: Step) -> None:
        end = until(self.now, step)
        self.on(step, "pause_event", **({} if end is None else {"until": from_us(end)}))

    def backfill(self, step: Step) -> None:
        start, end = span(self.now, step)
        self.on(
            step,
            "backfill",
            start=from_us(start),
            end=from_us(end),
            limit=step.values["limit"],
        )
        event_id = self.ids[step.event]
        asked = self.at_hand.list_journal(event_id=event_id, kind="event_backfilled").items
        mine = [(step.event, entry.id) for entry in asked]
        self.backfills += [one for one in mine if one not in self.backfills]

    def cancel_backfill(self, step: Step) -> None:
        mine = [backfill_id for name, backfill_id in self.backfills if name == step.event]
        if mine:
            self.call(step, "cancel_backfill", mine[-1])

    def cancel_execution(self, step: Step) -> None:
        ask = self.at_hand.list_executions
        found = every_one(ask, event_id=self.ids[step.event], descending=False)
        line = [execution for execution in found if execution.ended_at is None]
        if line:
            one = line[step.values["place"] % len(line)]
            self.call(step, "cancel_execution", one.id)

    def end_process(self, step: Step) -> None:
        if step.verb == "kill":
            self.scheduler.kill()
        else:
            self.scheduler.shutdown(0.0)

    # -- what the ledger says ------------------------------------------------------------------

    def known_ids(self) -> Ids:
        """Whatever chance depends on."""
        found: Ids = dict(self.ids.items())
        for name, event_id in self.ids.items():
            for execution in every_one(self.scheduler.list_executions, event_id=event_id):
                found[name, to_us(execution.due)] = execution.id
        return found

    def accounts_of_backfills(self) -> list[BackfillAccount]:
        accounts = []
        for _, backfill_id in self.backfills:
            found = self.scheduler.get_backfill(backfill_id)
            fates: dict[str, int] = {}
            for fate, count in found.fates.items():
                fates[_begun_or_not(fate)] = fates.get(_begun_or_not(fate), 0) + count
            resume = found.resume_from
            accounts.append(
                BackfillAccount(
                    found.planned,
                    found.existing,
                    found.remaining,
                    None if resume is None else to_us(resume),
                    fates,
                )
            )
        return accounts

    def _account(self, event_id: str) -> Account:
        scheduler = self.scheduler
        event = scheduler.get_event(event_id, deleted=True)
        fates: dict[int, tuple[str, str | None]] = {}
        attempts: dict[int, list[str]] = {}
        manual: list[tuple[str, str | None]] = []
        for execution in every_one(scheduler.list_executions, event_id=event_id, descending=False):
            told = (_begun_or_not(execution.fate), _word(execution.reason))
            if execution.manual:
                manual.append(told)
                continue
            at = to_us(execution.due)
            assert at not in fates
            fates[at] = told
            if execution.attempts:
                attempts[at] = [_begun_or_not(item.outcome) for item in execution.attempts]
        for gap in every_one(scheduler.list_gaps, event_id=event_id):
            for instant in self._instants(gap):
                at = to_us(instant)
                assert at not in fates
                fates[at] = (str(gap.fate), _word(gap.reason))
        due = event.next_due
        return Account(
            str(event.status),
            None if due is None else to_us(due),
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


def _begun_or_not(fate: Fate) -> str:
    """A short run may never show that it has begun."""
    return str(Fate.PENDING if fate is Fate.RUNNING else fate)


def _word(value: Any) -> str | None:
    return None if value is None else str(value)


_DONE: dict[str, Callable[[Real, Step], object]] = {
    "create": Real.create,
    "pause": Real.pause,
    "resume": lambda real, step: real.on(step, "resume_event"),
    "release": lambda real, step: real.on(step, "release_event"),
    "delete": lambda real, step: real.on(step, "delete_event"),
    "trigger": Real.reschedule,
    "policies": lambda real, step: real.on(step, "update_event", **wanted(step)),
    "skip_next": lambda real, step: real.on(step, "skip_next", count=step.values["count"]),
    "move_next": lambda real, step: real.on(step, "move_next", to=from_us(where(real.now, step))),
    "trigger_now": lambda real, step: real.on(step, "trigger_now", overlap=step.values["overlap"]),
    "backfill": Real.backfill,
    "cancel_backfill": Real.cancel_backfill,
    "cancel": Real.cancel_execution,
    "break": lambda real, step: real.jobs.gone.add(step.event),
    "mend": lambda real, step: real.jobs.gone.discard(step.event),
    "kill": Real.end_process,
    "shut_down": Real.end_process,
    "start": lambda real, step: real.scheduler.start(),
    "jump": lambda real, step: real.scheduler.jump(step.values["seconds"]),
}
