"""Settings: frozen, typed, checked as a whole before anything starts.

Sources, later ones winning: the defaults here, a TOML or JSON file, environment variables
``KALENDS_<NAME>``, keyword arguments. Every problem is reported in one ``ValidationFailed``, each
with its path. Times are in seconds, sizes in bytes."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from kalends.cleanup import CleanupRule
from kalends.errors import KalendsError, ValidationFailed, did_you_mean
from kalends.policies import Policies, consistent
from kalends.redaction import SECRET_KEYS
from kalends.refusals import checking

__all__ = ["Settings"]

_PREFIX = "KALENDS_"
_YEAR = 366 * 86_400.0


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a scheduler that is not an event. ``Settings.load`` reads and checks it."""

    enabled: bool = True
    """False: open the database and answer, but run nothing."""
    durability: Literal["full", "normal"] = "full"
    """``full``: a commit survives a power cut. ``normal``: it survives a crash of the process."""
    readers: int = 2
    busy_timeout: float = 5.0
    """How long a transaction waits for another process's."""

    workers: int = 16
    """Threads that run jobs, at most."""
    greenlets: int = 10_000
    """Jobs that run at once on the executor ``greenlet``, at most."""
    coroutines: int = 10_000
    """Jobs that run at once on the executor ``asyncio``, at most."""
    queue_limit: int | None = None
    """Executions that wait for a place on one executor, at most; what comes then is skipped. None:
    as many as ``claim_limit`` lets in.
    """
    process_workers: int = 2
    """Processes that run jobs of the executor ``process``, at most."""
    process_memory_limit: int | None = None
    """How much address space each of them may take; None: as much as the system gives."""
    process_max_jobs: int | None = None
    """A process is replaced after so many jobs; None: it goes on."""
    cancel_grace: float = 1.0
    """How long a job that was told to stop may take to do so, before it is stopped."""
    claim_ahead: float = 0.25
    """How long before its instant an execution is claimed, so that its start waits for no commit.
    """
    claim_batch: int = 1000
    """Executions claimed in one transaction, at most."""
    claim_limit: int = 20_000
    """Executions claimed and not ended, at most."""
    max_sleep: float = 30.0
    """The loop looks at the clock at least this often."""
    concurrency_limits: dict[str, int] = {}
    """How many executions of the events that name a limit may be claimed at once, by its name;
    across all processes that share the database, which have to agree on it.
    """
    lease: float = 15.0
    """How long this process is believed alive after its last sign of life."""

    max_arguments: int = 65_536
    max_result: int = 65_536
    max_error: int = 16_384
    max_log: int = 16_384
    """How much of what an attempt logs is kept, the newest of it; and how many lines at most:"""
    max_log_lines: int = 200
    secret_keys: tuple[str, ...] = SECRET_KEYS
    """What goes by such a key is left out of what the ledger and the logs tell of jobs; ``*`` is
    anything. Both empty: nothing is left out.
    """
    more_secret_keys: tuple[str, ...] = ()
    """What does so beside them."""
    follow_every: float = 1.0
    """While jobs run: how often what they tell is written down."""

    ask_timeout: float = 30.0
    mailbox_limit: int = 10_000
    stall_after: float = 1.0
    """A hub that does not answer for this long is reported with the stack that holds it."""
    restart_intensity: int = 5
    """Restarts within ``restart_period`` that the supervisor allows."""
    restart_period: float = 10.0
    restart_backoff: float = 0.05
    """Before the first restart in a row; each further one waits twice as long."""
    restart_backoff_limit: float = 1.0
    shutdown_timeout: float = 30.0

    housekeeping_every: float = 60.0
    retain_age: float | None = 30 * 86_400.0
    """Ended executions older than this are folded into gaps; None: kept for ever."""
    retain_count: int | None = None
    """Ended executions beyond the newest so many of an event are folded into gaps; None: all are
    kept.
    """
    retain_gaps: float | None = 366 * 86_400.0
    """Gaps and journal entries older than this go, and the account starts later; None: kept for
    ever.
    """
    cleanup: tuple[CleanupRule, ...] = ()
    """Files the housekeeper removes."""

    application: str = "default"
    """Whose declared events this scheduler's are. Applications with code of their own on one
    database have names of their own: each pauses only what it has declared itself."""
    reconcile_at_start: bool = True
    """Make the stored events as they are declared when the scheduler starts, if it is enabled."""

    policies: Policies = Policies()
    """What an event gets where it does not say."""

    @property
    def all_secret_keys(self) -> tuple[str, ...]:
        """The patterns of both settings."""
        return self.secret_keys + self.more_secret_keys

    @classmethod
    @checking
    def load(
        cls,
        file: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Settings:
        """Settings from all sources. ``environ`` defaults to the process's environment.

        Raises ``ValidationFailed`` listing every problem in ``details['problems']``, as ``{path:
        text}``."""
        problems: dict[str, str] = {}
        merged: dict[str, Any] = {} if file is None else _read_file(file)
        merged |= _read_environment(os.environ if environ is None else environ, problems)
        return cls._checked(merged | values, problems)

    @checking
    def checked(self) -> Settings:
        """These settings, once their values have been checked as ``load`` checks them.

        Raises ``ValidationFailed``: the constructor takes whatever it is given.
        """
        return self._checked(msgspec.structs.asdict(self), {})

    @classmethod
    def _checked(cls, values: dict[str, Any], problems: dict[str, str]) -> Settings:
        checked: dict[str, Any] = {}
        for name, value in values.items():
            _check_one(name, value, checked, problems)
        if not problems:
            settings = cls(**checked)
            _check_together(settings, problems)
        if problems:
            problems = {_plain(path): _plain(text)[:500] for path, text in sorted(problems.items())}
            text = "; ".join(f"{path}: {problem}" for path, problem in problems.items())
            raise ValidationFailed(
                f"settings are wrong: {text}", path="settings", problems=problems
            )
        return settings


_FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}

_RANGES: dict[str, tuple[float, float]] = {
    "readers": (1, 64),
    "busy_timeout": (0.0, 3600.0),
    "workers": (1, 4096),
    "greenlets": (1, 1_000_000),
    "coroutines": (1, 1_000_000),
    "queue_limit": (0, 10_000_000),
    "process_workers": (1, 4096),
    "process_memory_limit": (64 * 2**20, 10**15),
    "process_max_jobs": (1, 10**9),
    "cancel_grace": (0.0, 3600.0),
    "claim_ahead": (0.0, 60.0),
    "claim_batch": (1, 100_000),
    "claim_limit": (1, 10_000_000),
    "max_sleep": (0.01, 86_400.0),
    "lease": (1.0, 86_400.0),
    "max_arguments": (64, 64 * 2**20),
    "max_result": (64, 64 * 2**20),
    "max_error": (256, 2**20),
    "max_log": (256, 2**20),
    "max_log_lines": (0, 100_000),
    "follow_every": (0.01, 86_400.0),
    "ask_timeout": (0.001, 3600.0),
    "mailbox_limit": (1, 10_000_000),
    "stall_after": (0.01, 3600.0),
    "restart_intensity": (0, 1000),
    "restart_period": (0.01, 86_400.0),
    "restart_backoff": (0.0, 3600.0),
    "restart_backoff_limit": (0.0, 3600.0),
    "shutdown_timeout": (0.0, 3600.0),
    "housekeeping_every": (0.01, 86_400.0),
    "retain_age": (0.0, 1000 * _YEAR),
    "retain_count": (0, 2**31),
    "retain_gaps": (0.0, 1000 * _YEAR),
}

LIMIT_SIZES = (1, 1_000_000)
"""What the size of a named limit may be."""
_MAX_NAME = 200

POLICY_RANGES: dict[str, tuple[float, float]] = {
    "catch_up_window": (0.0, 100 * _YEAR),
    "catch_up_limit": (1, 10_000),
    "max_attempts": (1, 1000),
    "retries": (0, 100),
    "retry_delay": (0.0, _YEAR),
    "retry_max_delay": (0.0, _YEAR),
    "retry_jitter": (0.0, 1.0),
    "timeout": (0.001, _YEAR),
    "pause_after_failures": (1, 1000),
    "buffer_limit": (1, 100_000),
    "priority": (-100, 100),
}
"""What the numbers among the policies may be, in the settings and on an event."""


def _read_file(file: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        path = Path(file)
        text = path.read_text(encoding="utf-8")
        found = msgspec.json.decode(text) if path.suffix == ".json" else tomllib.loads(text)
    except Exception as error:
        shown = type(file).__name__ if not isinstance(file, str | Path) else str(file)[:500]
        raise ValidationFailed(_plain(f"{shown}: {error}"), path="file") from error
    if not isinstance(found, dict):
        raise ValidationFailed(f"{path} must hold a table of settings", path="file")
    return found


def _read_environment(environ: Mapping[str, str], problems: dict[str, str]) -> dict[str, Any]:
    if not isinstance(environ, Mapping):
        raise ValidationFailed("environ must be a mapping of texts", path="environ")
    found: dict[str, Any] = {}
    for key, text in environ.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise ValidationFailed("environ must be a mapping of texts", path="environ")
        if not key.startswith(_PREFIX):
            continue
        name = key.removeprefix(_PREFIX).lower()
        if name in _FIELDS:
            found[name] = _from_text(name, text)
        elif near := did_you_mean(name, _FIELDS):
            problems[key] = f"there is no such setting{near}"
        # Else it is somebody else's: an orchestrator announces a service of this name so.
    return found


def _from_text(name: str, text: str) -> Any:
    """Environment values are JSON where they look like it, words otherwise."""
    if text.lower() in ("true", "yes", "on"):
        return True
    if text.lower() in ("false", "no", "off"):
        return False
    if text.lower() in ("none", "null"):
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _check_one(name: str, value: Any, checked: dict[str, Any], problems: dict[str, str]) -> None:
    if name not in _FIELDS:
        problems[name] = f"there is no such setting{did_you_mean(name, _FIELDS)}"
        return
    try:
        if name == "cleanup":
            checked[name] = _cleanup_rules(value)
        elif name == "policies":
            checked[name] = _policies(value, problems)
        elif isinstance(value, bool) and _FIELDS[name].type is not bool:
            problems[name] = "expected a number, got a bool"
        else:
            checked[name] = msgspec.convert(value, _FIELDS[name].type)
    except KalendsError as error:
        problems[f"{name}.{error.details.get('path', '')}".rstrip(".")] = error.message
    except msgspec.ValidationError as error:
        problems[name] = str(error)
    except Exception as error:  # noqa: BLE001  (a value of any type, that may raise when looked at)
        problems[name] = f"cannot be read: {type(error).__name__}"
    if name in _RANGES:
        _check_range(name, checked.get(name), _RANGES[name], problems)


def _check_range(
    path: str, value: object, limits: tuple[float, float], problems: dict[str, str]
) -> None:
    if isinstance(value, int | float) and not limits[0] <= value <= limits[1]:  # NaN is outside
        problems[path] = f"must lie between {limits[0]:g} and {limits[1]:g}, not {_shown(value)}"


def _shown(value: float) -> str:
    """A number for a message: ``str`` refuses those of thousands of digits."""
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of hundreds of digits"
    return repr(value)


def _policies(value: Any, problems: dict[str, str]) -> Policies:
    given = msgspec.structs.asdict(value) if isinstance(value, Policies) else value
    policies = msgspec.convert(given, Policies)
    for field in given:
        if field not in Policies.__struct_fields__:
            near = did_you_mean(field, Policies.__struct_fields__)
            problems[f"policies.{field}"] = f"there is no such policy{near}"
        elif isinstance(given[field], bool):
            problems[f"policies.{field}"] = "expected a number or a word, got a bool"
    for field, limits in POLICY_RANGES.items():
        _check_range(f"policies.{field}", getattr(policies, field), limits, problems)
    if policies.executor is not None:
        problems["policies.executor"] = "is for a job, or for an event, to choose"
    try:
        return consistent(policies)
    except ValidationFailed as error:
        problems[f"policies.{error.details['path']}"] = error.message
        return policies


def _cleanup_rules(value: Any) -> tuple[CleanupRule, ...]:
    if not isinstance(value, list | tuple):
        raise ValidationFailed("expected a list of file rules", path="")
    return tuple(
        CleanupRule.checked(
            **(msgspec.structs.asdict(rule) if isinstance(rule, CleanupRule) else _table(rule))
        )
        for rule in value
    )


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValidationFailed(f"a file rule is a table, not {type(value).__name__}", path="")
    return value


def _check_together(settings: Settings, problems: dict[str, str]) -> None:
    if settings.claim_batch > settings.claim_limit:
        problems["claim_batch"] = "must not exceed claim_limit"
    if settings.restart_backoff > settings.restart_backoff_limit:
        problems["restart_backoff"] = "must not exceed restart_backoff_limit"
    _check_limits(settings, problems)
    _check_name("application", settings.application, problems)
    for place, key in enumerate(settings.secret_keys):
        _check_name(f"secret_keys[{place}]", key, problems)
    for place, key in enumerate(settings.more_secret_keys):
        _check_name(f"more_secret_keys[{place}]", key, problems)
    names = [rule.name for rule in settings.cleanup]
    for name in {name for name in names if names.count(name) > 1}:
        problems["cleanup"] = f"two file rules are named {name!r}"


def _check_name(path: str, name: str, problems: dict[str, str]) -> None:
    if not (name.strip() and name.isprintable() and len(name) <= _MAX_NAME):
        problems[path] = f"a name has 1 to {_MAX_NAME} printable characters"


def _check_limits(settings: Settings, problems: dict[str, str]) -> None:
    for name, size in settings.concurrency_limits.items():
        path = f"concurrency_limits.{name}"
        _check_name(path, name, problems)
        _check_range(path, size, LIMIT_SIZES, problems)
    chosen = settings.policies.concurrency_limit
    if chosen is not None and chosen not in settings.concurrency_limits:
        near = did_you_mean(chosen, settings.concurrency_limits)
        problems["policies.concurrency_limit"] = f"there is no such limit{near}"


def _plain(text: str) -> str:
    """Text that every terminal and file takes: what cannot be encoded is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
