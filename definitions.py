"""Event definitions as callers give them, checked whole before any message is sent.

The check runs on the caller's own thread: what it costs, the caller pays, and nothing half-right
reaches an actor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from kalends.clock import Clock
from kalends.drafts import Changes, Definition
from kalends.errors import KalendsError, ValidationFailed, did_you_mean
from kalends.jobs.codec import encode_arguments, type_name
from kalends.jobs.references import reference_of
from kalends.jobs.registry import Job, Kind, Registry, check_fit
from kalends.policies import CatchUp, Delivery, Overlap, Policies, RetryBackoff, consistent
from kalends.settings import POLICY_RANGES, Settings
from kalends.triggers import Cron, Interval, Once, Trigger, from_json
from kalends.triggers.transitions import Transition, warnings_of
from kalends.validation import (
    MAX_NAME,
    choice,
    class_names,
    known_keywords,
    note,
    number,
    tags,
    text,
)

__all__ = ["EVENT_FIELDS", "MAX_BULK", "DefinitionChecker"]

MAX_BULK = 1_000_000
"""The most events one call may create."""


def _ranged(field: str, *, whole: bool) -> Callable[[object, str], float]:
    low, high = POLICY_RANGES[field]
    kind = int if whole else float
    return lambda value, path: kind(number(value, path, low, high, whole=whole))


def _optional(check: Callable[[object, str], Any]) -> Callable[[object, str], Any]:
    return lambda value, path: None if value is None else check(value, path)


_POLICY_CHECKS: dict[str, Callable[[object, str], Any]] = {
    "catch_up": lambda value, path: choice(CatchUp, value, path),
    "catch_up_window": _ranged("catch_up_window", whole=False),
    "catch_up_limit": _ranged("catch_up_limit", whole=True),
    "overlap": lambda value, path: choice(Overlap, value, path),
    "buffer_limit": _ranged("buffer_limit", whole=True),
    "priority": _ranged("priority", whole=True),
    "delivery": lambda value, path: choice(Delivery, value, path),
    "max_attempts": _ranged("max_attempts", whole=True),
    "retries": _ranged("retries", whole=True),
    "retry_delay": _ranged("retry_delay", whole=False),
    "retry_backoff": lambda value, path: choice(RetryBackoff, value, path),
    "retry_max_delay": _ranged("retry_max_delay", whole=False),
    "retry_jitter": _ranged("retry_jitter", whole=False),
    "retry_on": class_names,
    "give_up_on": class_names,
    "timeout": _optional(_ranged("timeout", whole=False)),
    "pause_after_failures": _optional(_ranged("pause_after_failures", whole=True)),
}
EVENT_FIELDS = dict.fromkeys((
    "job", "trigger", "name", "args", "kwargs", "tags", "note", "concurrency_limit", "executor",
    *_POLICY_CHECKS,
))  # fmt: skip
"""What an event can be made or changed with."""


class _Seen:
    """What the checks of one call have found out: many events share a job and a rule."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.jobs: dict[str, Job] = {}
        self.trigger: object = self  # nobody's trigger
        self.warnings: tuple[Transition, ...] = ()


class DefinitionChecker:
    """Checks definitions against the registered jobs, the executors, and the limits of the
    settings.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        clock: Clock,
        executors: Mapping[str, Kind],
    ) -> None:
        """``executors``: by name, what each is for."""
        self._registry = registry
        self._settings = settings
        self._clock = clock
        self._executors = executors
        self._policy_checks = {
            **_POLICY_CHECKS,
            "concurrency_limit": self._limit,
            "executor": self._executor,
        }
        self.application = settings.application
        """Whose declared events these are."""

    def definition(self, values: Mapping[str, Any]) -> Definition:
        """The definition that ``values`` (the keywords of ``schedule_event``) describe.

        Raises ``ValidationFailed`` (or ``JobNotFound``, ``PayloadTooLarge``) naming the path.
        """
        return self._definition(values, "event", _Seen(self._clock.now_us()))

    def _definition(self, values: Mapping[str, Any], path: str, seen: _Seen) -> Definition:
        if type(values) is not dict and not isinstance(values, Mapping):
            raise ValidationFailed(
                f"{path} must be a mapping of fields, not {type_name(values)}", path=path
            )
        values = dict(values)  # read once: what was checked is what is stored
        known_keywords(values, EVENT_FIELDS, path)
        for field in ("job", "trigger"):
            if field not in values:
                raise ValidationFailed(f"{path} lacks {field!r}", path=f"{path}.{field}")
        name = values.get("name")
        trigger = values["trigger"]
        if trigger is not seen.trigger:
            trigger = _trigger(trigger)
            seen.warnings, seen.trigger = warnings_of(trigger, seen.now), trigger
        job = self._job_again(values["job"], values.get("executor"), seen)
        return Definition(
            name=None if name is None else text(name, "name", MAX_NAME),
            job=job.name,
            arguments=self._arguments(job, values.get("args", ()), values.get("kwargs")),
            trigger=trigger,
            policies=self._policies(values),
            tags=tags(values.get("tags", ()), "tags"),
            note=note(values.get("note"), "note"),
            warnings=seen.warnings,
        )

    def _job_again(self, value: Any, executor: object, seen: _Seen) -> Job:
        """As ``_job``; a plain name is looked up once for a call."""
        if type(value) is not str or executor is not None:
            return self._job(value, executor)
        job = seen.jobs.get(value)
        if job is None:
            job = seen.jobs[value] = self._job(value, None)
        return job

    def definitions(self, items: Iterable[Mapping[str, Any]]) -> tuple[Definition, ...]:
        """All of them, or an error whose path begins with the place of the first wrong one."""
        if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
            raise ValidationFailed(
                f"events must be a list of mappings, not {type_name(items)}", path="events"
            )
        checked: list[Definition] = []
        seen = _Seen(self._clock.now_us())
        for place, values in enumerate(items):
            if place >= MAX_BULK:
                raise ValidationFailed(f"more than {MAX_BULK} events in one call", path="events")
            try:
                checked.append(self._definition(values, "event", seen))
            except KalendsError as error:
                inner = str(error.details.get("path", "")).removeprefix("event").lstrip(".")
                error.details["path"] = f"[{place}].{inner}".rstrip(".")
                raise
        return tuple(checked)

    def declared(self) -> tuple[Definition, ...]:
        """What the registry declares, as this scheduler's application does.

        Raises ``ValidationFailed`` (or its like) naming the first wrong one.
        """
        seen, found = _Seen(self._clock.now_us()), []
        for declaration in self._registry.declarations():
            try:
                definition = self._definition(declaration.values(), "scheduled", seen)
            except KalendsError as error:
                error.message = f"the event {declaration.name!r} is declared wrong: {error.message}"
                raise
            found.append(msgspec.structs.replace(definition, declared_by=self.application))
        return tuple(found)

    def changes(self, values: Mapping[str, Any]) -> Changes:
        """The changes that the keywords of ``update_event`` describe."""
        known_keywords(values, EVENT_FIELDS, "changes")
        if not values:
            raise ValidationFailed("nothing to change was given", path="changes")
        fresh: dict[str, Any] = {}
        if "name" in values:
            fresh["name"] = text(values["name"], "name", MAX_NAME)
        job = None
        if "job" in values:
            job = self._job(values["job"], values.get("executor"))
            fresh["job"] = job.name
        if "args" in values or "kwargs" in values:
            if not ("args" in values and "kwargs" in values):
                raise ValidationFailed("args and kwargs change together: give both", path="kwargs")
            fresh["arguments"] = self._arguments(job, values["args"], values["kwargs"])
        if "trigger" in values:
            fresh["trigger"] = _trigger(values["trigger"])
            fresh["warnings"] = warnings_of(fresh["trigger"], self._clock.now_us())
        if "tags" in values:
            fresh["tags"] = tags(values["tags"], "tags")
        if "note" in values:
            fresh["note"] = note(values["note"], "note")
        policies = self._given_policies(values)
        if policies:
            fresh["policies"] = policies
        return Changes(**fresh)

    def _job(self, value: Any, executor: object) -> Job:
        """A job that its executor, or the one the event chooses, can run."""
        registry = self._registry
        job = registry.get(value if type(value) is str else registry.name_of(value))
        chosen = self._executor(executor, "executor") or self._executor(job.executor, "job")
        assert chosen is not None
        kind = self._executors[chosen]
        check_fit(job, chosen, kind)
        if kind.isolated:
            reference_of(job)
        return job

    def _executor(self, value: object, path: str) -> str | None:
        """The name of an executor that there is, or None."""
        name = None if value is None else text(value, path, MAX_NAME)
        if name is not None and name not in self._executors:
            raise ValidationFailed(
                f"there is no executor {name!r}{did_you_mean(name, self._executors)}", path=path
            )
        return name

    def _arguments(self, job: Job | None, args: object, kwargs: object) -> str:
        """The arguments as they are stored; where the job is given, as its annotations say."""
        if isinstance(args, str | bytes) or not isinstance(args, list | tuple):
            raise ValidationFailed(
                f"args must be a list or tuple, not {type_name(args)}", path="args"
            )
        if kwargs is not None and not isinstance(kwargs, dict):
            raise ValidationFailed(f"kwargs must be a dict, not {type_name(kwargs)}", path="kwargs")
        given: dict[str, Any] = {} if kwargs is None else kwargs
        if job is not None:
            args, given = job.parameters.plain(args, given)
        return encode_arguments(args, given, self._settings.max_arguments)

    def _given_policies(self, values: Mapping[str, Any]) -> dict[str, Any]:
        checks = self._policy_checks
        if checks.keys().isdisjoint(values):
            return {}
        return {
            field: check(values[field], field) for field, check in checks.items() if field in values
        }

    def _limit(self, value: object, path: str) -> str | None:
        """The name of a limit that the settings have, or None."""
        limits = self._settings.concurrency_limits
        name = None if value is None else text(value, path, MAX_NAME)
        if name is not None and name not in limits:
            raise ValidationFailed(
                f"the settings have no concurrency limit {name!r}{did_you_mean(name, limits)}",
                path=path,
            )
        return name

    def _policies(self, values: Mapping[str, Any]) -> Policies:
        given = self._given_policies(values)
        if not given:
            return self._settings.policies
        return consistent(msgspec.structs.replace(self._settings.policies, **given))


def _trigger(value: object) -> Trigger:
    if type(value) in _PLAIN_RULES or (isinstance(value, Trigger) and _reads_back(value)):
        return value  # type: ignore[return-value]  # a Trigger, by either condition
    raise ValidationFailed(
        f"trigger must be a rule, such as every(...) or cron(...) make, not {type_name(value)}",
        path="trigger",
    )


_PLAIN_RULES = (Once, Interval, Cron)
"""Rules that hold no other rule: the type alone says that they can be stored."""


def _reads_back(trigger: Trigger) -> bool:
    """Whether the stored form gives the same rule: an application's own subclass does not."""
    return from_json(trigger.to_json()) == trigger
