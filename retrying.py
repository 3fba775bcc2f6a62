"""Retries: whether an attempt that did not succeed is followed by another one, and when.

Functions of values alone: a plan, a test or an answer to "why" finds what the ledger found. The
delay after the ``n``-th failure of an execution is

    min(retry_max_delay, retry_delay * factor(n)) * (1 - retry_jitter * u)

where ``factor(n)`` is 1, ``n`` or ``2 ** (n - 1)``, and ``0 <= u < 1``. A jitter of 0.5 is the
"equal jitter", and one of 1 the "full jitter", of Marc Brooker's "Exponential Backoff And Jitter"
(AWS Architecture Blog, 2015). ``u`` is not random: it is drawn from the execution's id and the
number of the attempt, so that every node and every question finds the same delay, and executions
that failed together spread out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import msgspec

from kalends.clock import MAX_US, US
from kalends.policies import Delivery, Policies, RetryBackoff

__all__ = ["Ask", "RetryPlan", "backoff_us", "is_retried", "plan_retry"]


class Ask(msgspec.Struct, frozen=True):
    """That a job, by what it raised, asks to be run again."""

    failed: bool
    """True: this attempt is a failure (``Retry``). False: it is none (``Snooze``)."""
    delay_us: int | None
    """Microseconds to wait; None: by the backoff."""


class RetryPlan(msgspec.Struct, frozen=True):
    """What follows on an attempt that did not succeed."""

    ready_at: int | None
    """When a further attempt may begin; None: this was the last one."""
    exhausted: bool = False
    """True where further attempts were allowed and are used up."""
    forbidden: bool = False
    """True where the job asked for a further attempt that ``at_most_once`` does not allow."""


_OVER = RetryPlan(None)


def plan_retry(
    policies: Policies,
    *,
    execution_id: str,
    attempt: int,
    failures: int,
    kinds: Collection[str],
    ended: int,
    ask: Ask | None = None,
) -> RetryPlan:
    """Decide what follows on attempt number ``attempt``, which ended at ``ended`` (microseconds).

    ``failures`` counts the execution's failures and time-outs, this one included; ``kinds`` are the
    names of the class of what was raised and of its bases. A job that asks is heard whatever the
    filters say, as long as it has not failed more often than ``retries``, or ``max_attempts - 1``
    where that is more. Nothing bounds how often it may ask without having failed."""
    if policies.delivery is Delivery.AT_MOST_ONCE:
        return _OVER if ask is None else RetryPlan(None, forbidden=True)
    if ask is None:
        if not policies.retries or not is_retried(policies, kinds):
            return _OVER
        limit = policies.retries
    else:
        limit = max(policies.retries, policies.max_attempts - 1)
    if failures > limit and (ask is None or ask.failed):
        return RetryPlan(None, exhausted=True)
    if ask is not None and ask.delay_us is not None:
        delay = ask.delay_us
    else:
        delay = backoff_us(policies, failures, f"{execution_id}\n{attempt}")
    return RetryPlan(min(ended + delay, MAX_US))


def is_retried(policies: Policies, kinds: Collection[str]) -> bool:
    """Whether the filters let what bears one of these names be tried again."""
    if any(name in kinds for name in policies.give_up_on):
        return False
    return not policies.retry_on or any(name in kinds for name in policies.retry_on)


def backoff_us(policies: Policies, failures: int, seed: str) -> int:
    """Microseconds to wait after so many failures, the jitter drawn from ``seed``."""
    if policies.retry_backoff is RetryBackoff.CONSTANT:
        factor = 1.0
    elif policies.retry_backoff is RetryBackoff.LINEAR:
        factor = float(failures)
    else:
        factor = 2.0 ** min(failures - 1, 64)
    longest = round(min(policies.retry_max_delay, policies.retry_delay * factor) * US)
    width = round(longest * policies.retry_jitter)
    drawn = hashlib.blake2b(seed.encode(), digest_size=8).digest()
    return longest - (int.from_bytes(drawn, "big") * width >> 64)
