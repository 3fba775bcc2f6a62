"""Which executors a scheduler has: those by default, and those that its host names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kalends.errors import ValidationFailed
from kalends.jobs.codec import said
from kalends.jobs.executors.asyncio import AsyncioExecutor
from kalends.jobs.executors.base import Executor
from kalends.jobs.executors.bounds import check_name
from kalends.jobs.executors.greenlet import GreenletExecutor
from kalends.jobs.executors.process import ProcessExecutor
from kalends.jobs.executors.thread import ThreadExecutor
from kalends.settings import Settings

__all__ = ["choose_executors", "fresh_executors"]

_METHODS = ("fresh", "start", "submit", "release", "interrupt", "stop")
_PROPERTIES = (
    "name", "coroutines", "isolated", "interrupts", "capacity", "queue_limit", "running", "queued",
)  # fmt: skip


def choose_executors(settings: Settings, given: Any = None) -> dict[str, Executor]:
    """The executors by name, none of them started: those by default, in the sizes of the settings,
    and ``given``, which go first.

    Raises ``ValidationFailed`` for what is no mapping of names to executors.
    """
    limit = settings.claim_limit if settings.queue_limit is None else settings.queue_limit
    rest = settings.stall_after
    chosen: dict[str, Executor] = {
        "thread": ThreadExecutor(settings.workers, queue_limit=limit),
        "greenlet": GreenletExecutor(settings.greenlets, queue_limit=limit, stall_after=rest),
        "asyncio": AsyncioExecutor(settings.coroutines, queue_limit=limit, stall_after=rest),
        "process": ProcessExecutor(
            settings.process_workers,
            max_jobs=settings.process_max_jobs,
            memory_limit=settings.process_memory_limit,
            queue_limit=limit,
        ),
    }
    if given is None:
        return chosen
    if not isinstance(given, Mapping):
        raise ValidationFailed(
            "executors must be a mapping of names to executors", path="executors"
        )
    for name, executor in given.items():
        _check(name, executor)
        chosen[name] = executor
    return chosen


def fresh_executors(models: Mapping[str, Executor]) -> dict[str, Executor]:
    """Others like these, not started.

    Raises ``ValidationFailed`` naming the one whose ``fresh`` gives no executor.
    """
    made = {}
    for name, model in models.items():
        try:
            made[name] = model.fresh(name)
        except Exception as error:
            raise ValidationFailed(
                f"fresh() of executor {name!r} raised {said(error)}", path=f"executors.{name}"
            ) from error
        try:
            _check(name, made[name])
        except ValidationFailed as error:
            raise ValidationFailed(
                f"fresh() of executor {name!r} gave no executor: {error.message}",
                path=f"executors.{name}",
            ) from None
    return made


def _check(name: object, executor: object) -> None:
    check_name(name, "executors")
    path = f"executors.{name}"
    for method in _METHODS:
        if isinstance(executor, type) or not callable(getattr(executor, method, None)):
            raise ValidationFailed(
                f"an executor must have a method {method}(), and {name!r} has none", path=path
            )
    for attribute in _PROPERTIES:
        if not hasattr(executor, attribute):
            raise ValidationFailed(
                f"an executor must have an attribute {attribute!r}, and {name!r} has none",
                path=path,
            )
