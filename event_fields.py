"""The fields of an event, as keywords: what editors complete and type checkers hold calls to.

They describe; the checks themselves are in ``definitions``. Whatever is left out has its default;
what is refused is a ``ValidationFailed``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypedDict

from kalends.policies import CatchUp, Delivery, Overlap, RetryBackoff

__all__ = ["EventFields", "EventSettings", "PolicyFields"]


class PolicyFields(TypedDict, total=False):
    """The policies of an event; each is explained in ``policies.Policies``. Times in seconds."""

    catch_up: CatchUp | str
    catch_up_window: float
    catch_up_limit: int
    overlap: Overlap | str
    buffer_limit: int
    concurrency_limit: str | None
    priority: int
    delivery: Delivery | str
    max_attempts: int
    retries: int
    retry_delay: float
    retry_backoff: RetryBackoff | str
    retry_max_delay: float
    retry_jitter: float
    retry_on: Collection[str]
    give_up_on: Collection[str]
    timeout: float | None
    pause_after_failures: int | None
    executor: str | None


class EventSettings(PolicyFields, total=False):
    """What an event has beside its job, its trigger and its name."""

    args: Sequence[Any]
    kwargs: dict[str, Any] | None
    tags: Collection[str]
    note: str | None


class EventFields(EventSettings, total=False):
    """What an event has beside its job and its trigger."""

    name: str | None
