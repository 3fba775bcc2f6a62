"""What became of the instant that was to run for a coalesced one, in words.

Pure: it reads no clock and no database.
"""

from __future__ import annotations

from kalends.citing import ENDS, at
from kalends.explanation import Explanation, StandIn
from kalends.model import Fate

__all__ = ["coalesced"]


def coalesced(found: Explanation) -> str:
    """Why a coalesced instant did not run, to follow ``skipped as coalesced``."""
    policy = f"(catch_up={str(found.policies.get('catch_up'))!r})"
    if found.into is None:
        return f"another instant was left to run for it {policy}"
    return f"the instant {at(found.into.due)} {_stands(found.into)} {policy}"


def _stands(into: StandIn) -> str:
    match into.fate:
        case None:
            return "was left to run for it"
        case Fate.SUCCEEDED:
            return "ran for it"
        case Fate.RUNNING:
            return "runs for it"
        case Fate.PENDING if into.began:
            return "began for it, and waits for another attempt"
        case Fate.PENDING:
            return "is to run for it, and waits"
        case Fate.SKIPPED:
            return f"was to run for it, and was skipped as {into.reason}"
        case fate:
            return f"{'ran' if into.began else 'was to run'} for it, and {ENDS[fate]}"
