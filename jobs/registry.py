"""Jobs by name: what a stored definition may run.

A stored name resolves only through a registry that the application filled; text from the database
is never imported. An application may allow import by prefix
(``Registry(allow_imports=("myapp.",))``): then a name such as ``myapp.reports:daily`` is imported,
provided that the module lies under a prefix and the attribute is a function defined under one too.
That is checked at every look-up, when an event is submitted as well as when it is run.

Every method may be called from any thread.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, Unpack, overload

from kalends.errors import ConflictError, JobNotFound, ValidationFailed, did_you_mean
from kalends.event_fields import EventSettings
from kalends.jobs.codec import decode_arguments
from kalends.jobs.declarations import Declaration, Declarations
from kalends.jobs.typed import Parameters
from kalends.native import allocate_lock
from kalends.refusals import checking
from kalends.triggers import Trigger

__all__ = ["Job", "Kind", "Registry", "check_fit", "default_registry", "deferred_kind"]

F = TypeVar("F", bound=Callable[..., Any])

_NAME = re.compile(r"[\w.:-]{1,200}")
_REFERENCE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")
_AWAITED = "asyncio"
"""The executor of coroutine functions that name none."""
_CALLED = "thread"
"""That of all others."""
_PREFIX = re.compile(r"(?!.{201})[^\W\d]\w*(?:\.[^\W\d]\w*)*\.?")


@dataclass(frozen=True)
class Job:
    """A registered callable, its stable name, and the kind of executor that runs it."""

    name: str
    function: Callable[..., Any]
    executor: str
    coroutine: bool | None = False
    """Whether calling it only makes a coroutine, to be awaited. None: it stands in for either."""

    @functools.cached_property
    def parameters(self) -> Parameters:
        """What it takes. Found at the first use: by then all that annotations name is there."""
        return Parameters(self.function)


class Registry:
    """The jobs of an application. ``allow_imports``: module prefixes below which names may be
    imported.
    """

    @checking
    def __init__(self, allow_imports: Sequence[str] = ()) -> None:
        self._lock = allocate_lock()
        self._jobs: dict[str, Job] = {}
        self._imported: dict[str, Job] = {}
        self._declarations = Declarations()
        self._prefixes = _prefixes(allow_imports)

    # -- filling -------------------------------------------------------------------------------

    @checking
    def register(self, function: F, name: str | None = None, executor: str | None = None) -> F:
        """Make ``function`` known as ``name`` (default: ``module.qualname``) and return it
        unchanged.

        ``executor`` runs it where its event names no other (default: ``asyncio`` for a coroutine
        function, ``thread`` for any other). Registering the same module and qualified name again
        replaces, as a reload does. Raises ``ConflictError`` when the name belongs to a different
        function, ``ValidationFailed`` for what cannot be a job.
        """
        job = _job(function, lambda: _default_name(function) if name is None else name, executor)
        with self._lock:
            known = self._jobs.get(job.name)
            if known is not None and not _same(known.function, function):
                raise ConflictError(
                    f"job {job.name!r} is {_origin(known.function)} already,"
                    f" not {_origin(function)}; give one of them another name",
                    path="name",
                    name=job.name,
                )
            self._jobs[job.name] = job
        return function

    @overload
    def job(self, name: F, /) -> F: ...
    @overload
    def job(
        self, name: str | None = None, /, *, executor: str | None = None
    ) -> Callable[[F], F]: ...
    @checking
    def job(self, name: F | str | None = None, /, *, executor: str | None = None) -> Any:
        """Decorate a function: ``@job``, ``@job("reports.daily")``, ``@job("x",
        executor="greenlet")``.
        """
        if name is not None and not isinstance(name, str):
            return self.register(name, None, executor)

        def decorate(function: F) -> F:
            return self.register(function, name, executor)

        return decorate

    @checking
    def scheduled(
        self, trigger: Trigger, *, name: str | None = None, **fields: Unpack[EventSettings]
    ) -> Callable[[F], F]:
        """Declare an event of the job that follows: put it above ``@job``.

        ``name`` (default: the job's) is the event's; ``fields`` are those of ``schedule_event``.
        The event is made, or made so again, whenever a scheduler that uses this registry starts;
        see ``docs/declared-schedules.md``. Raises ``ValidationFailed`` where what follows is no
        job, and ``ConflictError`` where another declaration has the name.
        """
        return self._declarations.decorator(self.name_of, trigger, name, dict(fields))

    def declarations(self) -> tuple[Declaration, ...]:
        """The events that are declared here, by name."""
        return self._declarations.all()

    # -- looking up ----------------------------------------------------------------------------

    @checking
    def get(self, name: str) -> Job:
        """The job of this name; imports where that is allowed. Raises ``JobNotFound``."""
        job = self.find(name)
        if job is not None:
            return job
        if self.importable(name):
            return self._import(name)
        hint = did_you_mean(name, self.names())
        if not hint and isinstance(name, str) and _REFERENCE.fullmatch(name):
            hint = "; its module is under no prefix of allow_imports, so it is not imported"
        raise JobNotFound(
            f"no job {_shown(name)} is registered{hint}", path="job", job=_plain(name)
        )

    def find(self, name: str) -> Job | None:
        """The job of this name if it is registered or was imported before; never imports, never
        raises.
        """
        try:
            return self._jobs.get(name) or self._imported.get(name)
        except TypeError:  # unhashable
            return None

    def importable(self, name: str) -> bool:
        """True where ``get(name)`` may import: a reference whose module lies under an allowed
        prefix.
        """
        if not self._prefixes or not isinstance(name, str) or not _REFERENCE.fullmatch(name):
            return False
        return len(name) <= 200 and self._allows(name.partition(":")[0])

    @checking
    def name_of(self, job: Callable[..., Any] | str) -> str:
        """The name of a registered function, or ``job`` itself where it names one. Raises
        ``JobNotFound``.
        """
        if isinstance(job, str):
            return self.get(job).name
        if not callable(job):
            raise ValidationFailed(
                f"job must be a registered function or its name, not {type(job).__name__}",
                path="job",
            )
        with self._lock:
            for known in self._jobs.values():
                if known.function is job or _same_method(known.function, job):
                    return known.name
        raise JobNotFound(
            f"{_origin(job)} is not registered: decorate it with @job, or register it", path="job"
        )

    def fit(self, name: str, arguments: str) -> None:
        """Refuse stored arguments that the job of this name, if it is known here, does not take.

        Raises ``ValidationFailed`` with the path.
        """
        job = self.find(name)
        if job is not None:
            job.parameters.plain(*decode_arguments(arguments))

    def names(self) -> tuple[str, ...]:
        """The registered names, sorted."""
        with self._lock:
            return tuple(sorted(self._jobs))

    # -- importing -----------------------------------------------------------------------------

    def _allows(self, module: str) -> bool:
        return f"{module}.".startswith(self._prefixes)

    def _import(self, name: str) -> Job:
        module_name, _, attribute = name.partition(":")
        try:
            function = getattr(importlib.import_module(module_name), attribute)
        except BaseException as error:
            # An import may raise anything, even SystemExit.
            raise JobNotFound(
                f"job {name!r} cannot be imported: {type(error).__name__}",
                path="job",
                job=name,
                reason=type(error).__name__,
            ) from error
        home = getattr(function, "__module__", None)
        if not isinstance(function, types.FunctionType) and isinstance(home, str):
            home = type(function).__module__
        if isinstance(function, type) or not callable(function) or not isinstance(home, str):
            raise JobNotFound(f"job {name!r} is not a function", path="job", job=name)
        if not self._allows(home):
            raise JobNotFound(
                f"job {name!r} is defined in {home!r}, which is under no prefix of allow_imports",
                path="job",
                job=name,
            )
        job = _job(function, lambda: name, None)
        with self._lock:
            return self._imported.setdefault(name, job)


# -- checks ------------------------------------------------------------------------------------


def _prefixes(given: Iterable[object]) -> tuple[str, ...]:
    """Module prefixes, each with its dot; a text is not taken for the list of its letters."""
    listed = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    prefixes = []
    for prefix in given if listed else [given]:
        if not listed or not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise ValidationFailed(
                f"allow_imports takes a list such as ['myapp.'], not {_shown(prefix)}",
                path="allow_imports",
            )
        prefixes.append(prefix.rstrip(".") + ".")
    return tuple(prefixes)


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValidationFailed(
            f"a job name has 1 to 200 letters, digits and _ . : -, unlike {_shown(name)}",
            path="name",
        )
    return name


def _job(function: Any, name: Callable[[], object], executor: object) -> Job:
    """The job of a function. Raises ``ValidationFailed`` for what cannot be one."""
    if not callable(function):
        raise ValidationFailed(
            f"a job must be callable, not {type(function).__name__}", path="function"
        )
    if executor is not None and (not isinstance(executor, str) or not executor):
        raise ValidationFailed(
            f"executor must be a name such as 'thread', not {_shown(executor)}", path="executor"
        )
    kind = deferred_kind(function)
    if kind == "generator":
        raise ValidationFailed(
            f"{_origin(function)} is a generator function: calling it would not run its body;"
            " register a plain function, or a coroutine function",
            path="function",
        )
    coroutine = kind == "coroutine"
    chosen = executor or (_AWAITED if coroutine else _CALLED)
    job = Job(_check_name(name()), function, chosen, coroutine)
    if chosen in _KINDS:
        check_fit(job, chosen, _KINDS[chosen])
    return job


class Kind(Protocol):
    """What an executor's jobs have to be."""

    @property
    def coroutines(self) -> bool:
        """Coroutine functions, not plain ones."""

    @property
    def isolated(self) -> bool:
        """Functions that another process can find by import."""


class _Kind(NamedTuple):
    coroutines: bool = False
    isolated: bool = False


_KINDS: dict[str, Kind] = {
    "thread": _Kind(),
    "greenlet": _Kind(),
    "process": _Kind(isolated=True),
    "asyncio": _Kind(coroutines=True),
}
"""The executors there are by default."""


def check_fit(job: Job, executor: str, kind: Kind) -> None:
    """Raises ``ValidationFailed`` where an executor is not for this kind of function."""
    if job.coroutine in (kind.coroutines, None):
        if not kind.isolated or "<" not in getattr(job.function, "__qualname__", "<"):
            return
        why = "is a lambda, lies inside of a function or has no name: no other process finds it"
    elif job.coroutine:
        why = "is a coroutine function: calling it there would not run its body"
    else:
        why = "is no coroutine function (async def): while it runs, nothing else there would"
    raise ValidationFailed(
        f"executor {executor!r} cannot run {_origin(job.function)}, which {why}", path="executor"
    )


def deferred_kind(function: Any) -> str | None:
    """``coroutine`` or ``generator`` where a call would not run the function's body; else None."""
    while isinstance(function, functools.partial):
        function = function.func
    bodies = [function]
    if not isinstance(function, type) and not inspect.isroutine(function):
        bodies.append(type(function).__call__)
    for body in bodies:
        if inspect.iscoroutinefunction(body):
            return "coroutine"
        if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
            return "generator"
    return None


def _default_name(function: Any) -> str:
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        raise ValidationFailed(
            f"{_origin(function)} has no name of its own: give one, as in @job('reports.daily')",
            path="name",
        )
    if "<" in qualname:
        raise ValidationFailed(
            f"{qualname!r} is no stable name (a lambda, or defined inside a function): give one,"
            " as in @job('reports.daily')",
            path="name",
        )
    return f"{module}.{qualname}"


def _same(known: Any, function: Any) -> bool:
    if known is function or _same_method(known, function):
        return True
    places = [
        (getattr(item, "__module__", None), getattr(item, "__qualname__", None))
        for item in (known, function)
    ]
    return places[0] == places[1] and None not in places[0] and "<" not in str(places[0][1])


def _same_method(known: object, function: object) -> bool:
    """Bound methods are made anew at every access."""
    return (
        isinstance(known, types.MethodType)
        and isinstance(function, types.MethodType)
        and known.__self__ is function.__self__
        and known.__func__ is function.__func__
    )


def _origin(function: Any) -> str:
    module, qualname = (
        getattr(function, "__module__", None),
        getattr(function, "__qualname__", None),
    )
    if isinstance(module, str) and isinstance(qualname, str):
        return f"{module}.{qualname}"
    return f"a {type(function).__name__}"


def _shown(value: object) -> str:
    return repr(value[:200]) if isinstance(value, str) else f"a {type(value).__name__}"


def _plain(value: object) -> str | None:
    return value[:200] if isinstance(value, str) else None


default_registry = Registry()
"""The registry that ``@kalends.job`` fills and that a scheduler uses unless it is given another."""
