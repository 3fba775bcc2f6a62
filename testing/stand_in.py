"""A registry that knows every job by name and can run none: what a simulation needs of jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalends.errors import JobNotFound
from kalends.jobs.registry import Job, Registry, default_registry

__all__ = ["StandInRegistry"]


class StandInRegistry(Registry):
    """Takes any name for that of a job. Functions have the name they are registered under in
    ``registry`` (the default one unless given), others their module and qualified name."""

    def __init__(self, registry: Registry | None = None) -> None:
        super().__init__()
        self._real = default_registry if registry is None else registry
        self._stand_ins: dict[str, Job] = {}

    def name_of(self, job: Callable[..., Any] | str) -> str:
        """The name of a job, which is known from now on."""
        if isinstance(job, str):
            return self.get(job).name
        try:
            return self.get(self._real.name_of(job)).name
        except JobNotFound:
            self.register(job)
            return super().name_of(job)

    def get(self, name: str) -> Job:
        """The job of this name, registered now if it was not."""
        known = self.find(name)
        if known is None:
            real = self._real.find(name)
            known = Job(name, _stand_in, "thread" if real is None else real.executor, None)
            self._stand_ins[name] = known
        return known

    def find(self, name: str) -> Job | None:
        """The job of this name, where it is known."""
        return super().find(name) or self._stand_ins.get(name)


def _stand_in(*_: object, **__: object) -> None:
    """Takes the place of a job that is only played, with whatever arguments."""
