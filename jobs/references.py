"""Where another process finds a job: the module and qualified name of its function.

Both come from the function that the application registered, never from stored text. The other
process imports that module. Where this registers the job in the default registry, as
``@kalends.job`` does, the function is taken from there; otherwise it is the module's attribute.

So a job has to be a function that an import of its module brings back: at the top level of a module
or of a class, in a module that can be imported. The program that was started, ``__main__``, is
imported as ``multiprocessing`` does it: under the name ``__mp_main__``, so that what stands below
``if __name__ == "__main__":`` does not run again.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from kalends.errors import ValidationFailed
from kalends.jobs.registry import Job, default_registry

__all__ = ["Reference", "attribute", "reference_of", "same_place"]

_MAIN = "__main__"
_MAIN_ELSEWHERE = "__mp_main__"


class Reference(msgspec.Struct, frozen=True):
    """Where a job is found, and the name that the application gave it."""

    module: str
    qualname: str
    job: str


def reference_of(job: Job) -> Reference:
    """Where another process will find ``job``. Raises ``ValidationFailed`` where it will not."""
    module = getattr(job.function, "__module__", None)
    qualname = getattr(job.function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        raise _unreachable(job, "it has no name of its own")
    if "<" in qualname:
        raise _unreachable(job, f"{qualname!r} is a lambda, or lies inside of a function")
    if module == _MAIN and not _main_is_importable():
        raise _unreachable(job, "it is defined in a session, on a command line or in a __main__.py")
    if not _leads_back(module, qualname, job):
        raise _unreachable(job, f"importing {module!r} does not bring it back as {qualname!r}")
    return Reference(module, qualname, job.name)


def _unreachable(job: Job, why: str) -> ValidationFailed:
    return ValidationFailed(
        f"job {job.name!r} cannot run in another process: {why}; define it as a function at the top"
        " level of a module",
        path="job",
        job=job.name,
    )


def _main_is_importable() -> bool:
    """Whether ``multiprocessing`` imports the program again: ``spawn.get_preparation_data``."""
    main = sys.modules.get(_MAIN)
    spec = getattr(main, "__spec__", None)
    if spec is None:
        return hasattr(main, "__file__")
    return str(spec.name).rpartition(".")[2] != _MAIN


def _leads_back(module: str, qualname: str, job: Job) -> bool:
    registered = default_registry.find(job.name)
    if registered is not None and registered.function is job.function:
        return module in sys.modules
    return attribute(sys.modules.get(module), qualname) is job.function


def attribute(place: object, qualname: str) -> Any:
    """What a qualified name stands for in a module; None: nothing."""
    for name in qualname.split("."):
        place = getattr(place, name, None)
    return place


def same_place(job: Job, reference: Reference) -> bool:
    """Whether a job that an import has registered is the one that was meant."""
    home = getattr(job.function, "__module__", None)
    same = home == reference.module or (home, reference.module) == (_MAIN_ELSEWHERE, _MAIN)
    return same and getattr(job.function, "__qualname__", None) == reference.qualname
