"""What policies are where nothing is said, and which of them cannot hold together."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kalends import Policies, ValidationFailed
from kalends.policies import consistent

DEFAULTS = {
    "catch_up": "latest",
    "catch_up_window": 86_400.0,
    "catch_up_limit": 100,
    "overlap": "skip",
    "buffer_limit": 1000,
    "concurrency_limit": None,
    "priority": 0,
    "delivery": "at_least_once",
    "max_attempts": 5,
    "retries": 0,
    "retry_delay": 10.0,
    "retry_backoff": "exponential",
    "retry_max_delay": 3600.0,
    "retry_jitter": 0.1,
    "retry_on": (),
    "give_up_on": (),
    "timeout": None,
    "pause_after_failures": None,
    "executor": None,
}


def test_where_nothing_is_said_these_are_the_policies() -> None:
    assert msgspec.structs.asdict(Policies()) == DEFAULTS


def _policies(**fields: Any) -> Policies:
    return msgspec.convert(fields, Policies)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"delivery": "at_most_once"},
        {"delivery": "at_least_once", "retries": 1},
        {"retry_on": ("OSError", "app.errors.Busy"), "give_up_on": ("f.<locals>.Wrong",)},
    ],
)
def test_policies_that_can_hold_together_are_given_back(fields: dict[str, Any]) -> None:
    policies = _policies(**fields)
    assert consistent(policies) is policies


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"delivery": "at_most_once", "retries": 1}, "retries"),
        ({"retry_on": ("OSError", "not a name")}, "retry_on[1]"),
        ({"give_up_on": ("app..Busy",)}, "give_up_on[0]"),
        ({"give_up_on": ("<lambda>.Busy",)}, "give_up_on[0]"),
    ],
)
def test_policies_that_cannot_are_refused_with_the_one_to_blame(
    fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        consistent(_policies(**fields))
    assert refused.value.details["path"] == path
