"""What a file clean-up rule may say: a rule that could do harm is refused before it reaches a disk.

A rule names an absolute directory that is not the root of a file system, not the home directory and
not above it; a pattern for names without separators; and at least one criterion to choose files by.
What the criteria mean is said in ``cleanup``. Every refusal is a ``ValidationFailed`` that names
the field.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePath

import msgspec

from kalends.cleanup_walk import sacred_directories
from kalends.errors import ValidationFailed, did_you_mean
from kalends.refusals import checking

__all__ = ["CleanupRule", "checked_values", "refused"]

_MAX_AGE = 100 * 366 * 86_400
_MAX_KEEP = 1_000_000_000
_MAX_BYTES = 2**63 - 1
_MAX_NAME, _MAX_PATTERN, _MAX_PATH = 100, 255, 4096


class CleanupRule(msgspec.Struct, frozen=True, kw_only=True):
    """What to remove where. Make it with ``checked``; ``cleanup`` says what the criteria mean.

    ``directory`` is absolute, ``older_than`` in seconds. At least one of the three criteria is
    given.
    """

    name: str
    directory: str
    pattern: str
    older_than: float | None = None
    keep_last: int | None = None
    max_total_bytes: int | None = None
    recursive: bool = False
    dry_run: bool = False

    @classmethod
    @checking
    def checked(cls, **values: object) -> CleanupRule:
        """The rule, or ``ValidationFailed`` whose ``details['path']`` is the offending field.

        Links *above* the directory are resolved here, once (``/var/run/app`` becomes ``/run/app``);
        a link that appears on the way later makes the run refuse. The directory itself must not be
        a link. It need not exist yet.
        """
        rule = checked_values(values)
        with suppress(OSError):
            if os.path.islink(rule.directory):
                raise refused("directory", "is a symbolic link; name the directory it points to")
        resolved = os.path.realpath(rule.directory)
        return checked_values(msgspec.structs.asdict(rule) | {"directory": resolved})


def refused(field: str, fault: str) -> ValidationFailed:
    """The error for one field of a rule; ``details['path']`` is the field."""
    return ValidationFailed(f"{field} {fault}", path=field)


def checked_values(values: Mapping[str, object]) -> CleanupRule:
    """Everything about a rule that can be judged without looking at the disk."""
    known = CleanupRule.__struct_fields__
    for field in values:
        if field not in known:
            raise refused(field, f"is not a field of a clean-up rule{did_you_mean(field, known)}")
    rule = CleanupRule(
        name=_text(values, "name", _MAX_NAME),
        directory=_directory(values),
        pattern=_pattern(values),
        older_than=_seconds(values, "older_than", _MAX_AGE),
        keep_last=_whole(values, "keep_last", _MAX_KEEP),
        max_total_bytes=_whole(values, "max_total_bytes", _MAX_BYTES),
        recursive=_flag(values, "recursive"),
        dry_run=_flag(values, "dry_run"),
    )
    if rule.older_than is None and rule.keep_last is None and rule.max_total_bytes is None:
        raise refused("older_than", "or keep_last or max_total_bytes has to be given")
    if not rule.name.isprintable() or not rule.name.strip():
        raise refused("name", "must be printable text")
    return rule


def _text(values: Mapping[str, object], field: str, most: int) -> str:
    value = values.get(field)
    if field not in values:
        raise refused(field, "is missing")
    if not isinstance(value, str):
        raise refused(field, f"must be text, not {type(value).__name__}")
    if not 1 <= len(value) <= most:
        raise refused(field, f"must have 1 to {most} characters, not {len(value)}")
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise refused(field, "holds a character that cannot be stored")
    return value


def _pattern(values: Mapping[str, object]) -> str:
    pattern = _text(values, "pattern", _MAX_PATTERN)
    if "/" in pattern or "\\" in pattern or pattern in (".", ".."):
        raise refused("pattern", "must match names of files, without separators")
    return pattern


def _directory(values: Mapping[str, object]) -> str:
    text = _text(values, "directory", _MAX_PATH)
    pure = PurePath(text)
    if not pure.is_absolute():
        raise refused("directory", "must be absolute")
    if ".." in pure.parts:
        raise refused("directory", "must not contain '..'")
    if not pure.parts[1:]:
        raise refused("directory", "must not be the root of a file system")
    # PurePath keeps POSIX's leading '//': nothing here means it.
    directory = os.path.join(pure.anchor if os.name == "nt" else os.sep, *pure.parts[1:])
    _refuse_sacred(directory)
    return directory


def _refuse_sacred(directory: str) -> None:
    sacred = {os.path.normcase(path) for path in sacred_directories()}
    if os.path.normcase(directory) in sacred or os.path.dirname(directory) == directory:
        raise refused("directory", "must not be the root, the home directory or one above it")


def _seconds(values: Mapping[str, object], field: str, most: int) -> float | None:
    value = values.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refused(field, f"must be a number of seconds, not {type(value).__name__}")
    if not 0 <= value <= most:  # also false for NaN
        raise refused(field, f"must be from 0 to {most}")
    return float(value)


def _whole(values: Mapping[str, object], field: str, most: int) -> int | None:
    value = values.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise refused(field, f"must be a whole number, not {type(value).__name__}")
    if not 0 <= value <= most:
        raise refused(field, f"must be from 0 to {most}")
    return value


def _flag(values: Mapping[str, object], field: str) -> bool:
    value = values.get(field, False)
    if not isinstance(value, bool):
        raise refused(field, f"must be true or false, not {type(value).__name__}")
    return value
