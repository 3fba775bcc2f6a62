"""Checks of what callers hand in: each refusal is a ``ValidationFailed`` naming the wrong place.

Values are taken as what they are (``type(value)``), not as what they say they are: a subclass with
a hostile ``__eq__``, or a mock that poses as text, is reduced to its plain value or refused.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from kalends.clock import to_us
from kalends.errors import ValidationFailed, did_you_mean
from kalends.ids import check_id
from kalends.jobs.codec import storable, type_name
from kalends.model import EventStatus, Fate, JournalKind
from kalends.notices import KINDS
from kalends.queries import EventQuery, ExecutionQuery, GapQuery, JournalQuery
from kalends.triggers.zone import zone

__all__ = [
    "MAX_CLASSES",
    "MAX_NAME",
    "MAX_NOTE",
    "MAX_PAGE",
    "MAX_TAGS",
    "choice",
    "class_names",
    "due_query",
    "event_query",
    "execution_query",
    "flag",
    "gap_query",
    "identifier",
    "instant",
    "journal_query",
    "known_keywords",
    "note",
    "notice_kinds",
    "number",
    "shown",
    "tags",
    "text",
    "time_zone",
]

E = TypeVar("E", bound=StrEnum)
MAX_NAME = 200
MAX_NOTE = 2000
MAX_TAGS = 32
MAX_CLASSES = 32
MAX_PAGE = 1000
"""The most items a page may hold."""

EVENT_SORT_KEYS = ("created_at", "updated_at", "name", "next_due")


# -- values ------------------------------------------------------------------------------------


def text(value: object, path: str, limit: int) -> str:
    """Printable text of 1 to ``limit`` characters that every database can store."""
    plain = _plain_text(value)
    if plain is None:
        raise ValidationFailed(f"{path} must be text, not {type_name(value)}", path=path)
    if not plain.strip() or len(plain) > limit:
        raise ValidationFailed(f"{path} must have 1 to {limit} characters", path=path)
    if not plain.isprintable():
        raise ValidationFailed(f"{path} holds a character that cannot be printed", path=path)
    return plain


def note(value: object, path: str) -> str | None:
    """Free text of up to ``MAX_NOTE`` characters, line breaks allowed, or None."""
    if value is None:
        return None
    plain = _plain_text(value)
    if plain is None:
        raise ValidationFailed(f"{path} must be text or None, not {type_name(value)}", path=path)
    if len(plain) > MAX_NOTE:
        raise ValidationFailed(f"{path} must have at most {MAX_NOTE} characters", path=path)
    if not all(character.isprintable() or character in "\n\t" for character in plain):
        raise ValidationFailed(f"{path} holds a character that cannot be printed", path=path)
    return plain


def tags(value: object, path: str) -> tuple[str, ...]:
    """Up to ``MAX_TAGS`` different tags, in the order given."""
    return _texts(value, path, MAX_TAGS, "tags")


def class_names(value: object, path: str) -> tuple[str, ...]:
    """Up to ``MAX_CLASSES`` names of exception classes; a class itself is not stored."""
    if issubclass(type(value), list | tuple | set | frozenset):
        assert isinstance(value, Collection)
        for place, item in enumerate(value):
            if issubclass(type(item), type):
                raise ValidationFailed(
                    f"{path}[{place}] must be the name of the class, such as 'ValueError', "
                    "not the class itself",
                    path=f"{path}[{place}]",
                )
    return _texts(value, path, MAX_CLASSES, "names of exception classes")


def _texts(value: object, path: str, limit: int, what: str) -> tuple[str, ...]:
    """Up to ``limit`` different texts, in the order given; in their own where there is none."""
    if type(value) is tuple and not value:
        return ()
    if not issubclass(type(value), list | tuple | set | frozenset):
        raise ValidationFailed(
            f"{path} must be a list of {what}, not {type_name(value)}", path=path
        )
    assert isinstance(value, Collection)
    if len(value) > limit:
        raise ValidationFailed(f"{path} may hold at most {limit} {what}", path=path)
    checked = [text(item, f"{path}[{place}]", MAX_NAME) for place, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        checked.sort()
    return tuple(dict.fromkeys(checked))


def choice(kind: type[E], value: object, path: str) -> E:
    """A member of ``kind``, given as itself or by its word."""
    if type(value) is kind:
        return value
    words = [member.value for member in kind]
    plain = _plain_text(value)
    if plain is None or plain not in words:
        raise ValidationFailed(
            f"{path} must be one of {', '.join(words)}, not {shown(value)}"
            f"{did_you_mean(plain, words)}",
            path=path,
        )
    return kind(plain)


def number(value: object, path: str, low: float, high: float, *, whole: bool = False) -> float:
    """A finite number in ``low`` to ``high``; an int where ``whole``."""
    kind = type(value)
    plain: int | float
    if issubclass(kind, int) and kind is not bool:
        plain = int.__int__(value)  # type: ignore[arg-type]  # an int, as the line above has seen
    elif issubclass(kind, float) and not whole:
        plain = float.__float__(value)  # type: ignore[arg-type]  # a float, as seen above
    else:
        wanted = "a whole number" if whole else "a number"
        raise ValidationFailed(f"{path} must be {wanted}, not {shown(value)}", path=path)
    if not low <= plain <= high or (isinstance(plain, float) and not math.isfinite(plain)):
        raise ValidationFailed(
            f"{path} must lie between {low:g} and {high:g}, not {shown(plain)}", path=path
        )
    return plain


def flag(value: object, path: str) -> bool:
    """True or False, and nothing that merely counts as one of them."""
    if value is not True and value is not False:
        raise ValidationFailed(f"{path} must be True or False, not {shown(value)}", path=path)
    return value


def identifier(value: object, path: str) -> str:
    """An id as Kalends makes them."""
    plain = _plain_text(value)
    return check_id(shown(value) if plain is None else plain, path)


def instant(value: object, path: str) -> int | None:
    """Microseconds of an aware datetime, or None."""
    return None if value is None else to_us(value, path)


def time_zone(value: object, path: str) -> str:
    """The name of a time zone that there is."""
    return zone(text(value, path, MAX_NAME)).name


def known_keywords(values: Mapping[str, Any], known: Collection[str], path: str) -> None:
    """Refuse keywords that do not exist, suggesting the nearest that does."""
    for key in values:
        if type(key) is str and key in known:
            continue
        plain = _plain_text(key)
        if plain is None or plain not in known:
            raise ValidationFailed(
                f"{path} has no field {shown(key)}{did_you_mean(plain, known)}",
                path=path if plain is None else f"{path}.{_field(plain)}",
            )


def notice_kinds(value: object, path: str) -> frozenset[str]:
    """Words of ``notices.KINDS``, given as a list or alone; None: all of them."""
    if value is None:
        return KINDS
    several = value if _plain_text(value) is None else [value]
    words = _texts(several, path, len(KINDS), "kinds of notices")
    for word in words:
        if word not in KINDS:
            raise ValidationFailed(
                f"{path} has no kind {shown(word)}{did_you_mean(word, sorted(KINDS))}", path=path
            )
    return frozenset(words)


def optional_text(value: object, path: str) -> str | None:
    """As ``text`` with the limit of a name, or None."""
    return None if value is None else text(value, path, MAX_NAME)


def shown(value: object) -> str:
    """A value in an error message: short, printable, whatever its ``__repr__`` does."""
    try:
        return storable(_REPR.repr(value))
    except Exception:  # noqa: BLE001  (somebody else's __repr__)
        return f"a {type_name(value)}"


def _plain_text(value: object) -> str | None:
    """The text itself, without what a subclass of ``str`` may have added; None for other types."""
    return str.__str__(value) if issubclass(type(value), str) else None


def _field(name: str) -> str:
    return storable(name[:80])


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80


# -- queries -----------------------------------------------------------------------------------


def _id(value: object, path: str) -> str | None:
    return None if value is None else identifier(value, path)


def _limit(value: object) -> int:
    return int(number(value, "limit", 1, MAX_PAGE, whole=True))


def _cursor(value: object) -> str | None:
    if value is None:
        return None
    plain = _plain_text(value)
    if plain is None or len(plain) > 2000:
        raise ValidationFailed("cursor must be one that a list returned", path="cursor")
    return plain


def _sort(value: object) -> str:
    plain = _plain_text(value)
    if plain not in EVENT_SORT_KEYS:
        raise ValidationFailed(
            f"sort must be one of {', '.join(EVENT_SORT_KEYS)}, not {shown(value)}"
            f"{did_you_mean(plain, EVENT_SORT_KEYS)}",
            path="sort",
        )
    return plain


def event_query(**values: Any) -> EventQuery:
    """Check the keywords of ``list_events`` and ``count_events``."""
    known_keywords(values, EventQuery.__struct_fields__, "query")
    status = values.get("status")
    return EventQuery(
        status=None if status is None else choice(EventStatus, status, "status"),
        tag=optional_text(values.get("tag"), "tag"),
        job=optional_text(values.get("job"), "job"),
        name=optional_text(values.get("name"), "name"),
        declared_by=optional_text(values.get("declared_by"), "declared_by"),
        due_from=instant(values.get("due_from"), "due_from"),
        due_until=instant(values.get("due_until"), "due_until"),
        sort=_sort(values.get("sort", "created_at")),
        descending=flag(values.get("descending", False), "descending"),
        limit=_limit(values.get("limit", 50)),
        cursor=_cursor(values.get("cursor")),
    )


def due_query(**values: Any) -> EventQuery:
    """Check the conditions by which the active events ahead are chosen: those of ``list_events``
    that are about one event, ``limit``, and ``until``.
    """
    known_keywords(values, ("limit", "until", "tag", "job", "name"), "query")
    until = instant(values.pop("until", None), "until")
    chosen = event_query(status=EventStatus.ACTIVE, **values)
    return msgspec.structs.replace(chosen, due_until=until)


def execution_query(**values: Any) -> ExecutionQuery:
    """Check the keywords of ``list_executions`` and ``count_executions``."""
    known_keywords(values, ExecutionQuery.__struct_fields__, "query")
    fate, manual = values.get("fate"), values.get("manual")
    return ExecutionQuery(
        event_id=_id(values.get("event_id"), "event_id"),
        fate=None if fate is None else choice(Fate, fate, "fate"),
        since=instant(values.get("since"), "since"),
        until=instant(values.get("until"), "until"),
        manual=None if manual is None else flag(manual, "manual"),
        backfill=_id(values.get("backfill"), "backfill"),
        descending=flag(values.get("descending", True), "descending"),
        limit=_limit(values.get("limit", 50)),
        cursor=_cursor(values.get("cursor")),
    )


def gap_query(**values: Any) -> GapQuery:
    """Check the keywords of ``list_gaps``."""
    known_keywords(values, GapQuery.__struct_fields__, "query")
    return GapQuery(
        event_id=_id(values.get("event_id"), "event_id"),
        since=instant(values.get("since"), "since"),
        until=instant(values.get("until"), "until"),
        limit=_limit(values.get("limit", 50)),
        cursor=_cursor(values.get("cursor")),
    )


def journal_query(**values: Any) -> JournalQuery:
    """Check the keywords of ``list_journal``."""
    known_keywords(values, JournalQuery.__struct_fields__, "query")
    kind = values.get("kind")
    return JournalQuery(
        event_id=_id(values.get("event_id"), "event_id"),
        kind=None if kind is None else choice(JournalKind, kind, "kind").value,
        since=instant(values.get("since"), "since"),
        until=instant(values.get("until"), "until"),
        limit=_limit(values.get("limit", 50)),
        cursor=_cursor(values.get("cursor")),
    )
