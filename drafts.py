"""What an event is made or changed from: values, already checked."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from kalends.policies import Policies
from kalends.triggers import Transition, Trigger

__all__ = ["Changes", "Definition", "OnConflict"]


class Definition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A checked event definition, ready to be stored.

    ``arguments`` is JSON: ``{"args": [], "kwargs": {}}``.
    """

    name: str | None
    """None: named after the job and the new id."""
    job: str
    arguments: str
    trigger: Trigger
    policies: Policies
    tags: tuple[str, ...] = ()
    note: str | None = None
    declared_by: str | None = None
    """The application whose code declares it, where one does."""
    warnings: tuple[Transition, ...] = ()
    """For the answer; not stored."""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What an update changes; UNSET leaves a field as it is."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    job: str | msgspec.UnsetType = msgspec.UNSET
    arguments: str | msgspec.UnsetType = msgspec.UNSET
    trigger: Trigger | msgspec.UnsetType = msgspec.UNSET
    policies: dict[str, object] | msgspec.UnsetType = msgspec.UNSET
    """Checked policy fields that change; the others keep their value."""
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    note: str | msgspec.UnsetType | None = msgspec.UNSET
    declared_by: str | msgspec.UnsetType = msgspec.UNSET
    warnings: tuple[Transition, ...] = ()
    """As in a ``Definition``."""


class OnConflict(StrEnum):
    """What to do when a living event of the same name exists."""

    ERROR = "error"
    KEEP = "keep"
    REPLACE = "replace"
