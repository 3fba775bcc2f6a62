"""What a job may raise to say how its execution goes on."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from kalends import Cancel, Retry, Snooze, ValidationFailed
from kalends.jobs.failures import kinds_of
from kalends.jobs.requests import ask_of, word_of
from kalends.model import Fate
from kalends.retrying import Ask
from kalends.work import Outcome

if TYPE_CHECKING:
    from tests.jobs.conftest import MakeClaim, Rig


@pytest.mark.parametrize(
    ("error", "text", "ask"),
    [
        (Retry(), "try again", Ask(True, None)),
        (Retry(2.5), "try again in 2.5 seconds", Ask(True, 2_500_000)),
        (Retry(reason="busy"), "busy", Ask(True, None)),
        (Retry(0, "now"), "now", Ask(True, 0)),
        (Snooze(90), "run again in 90 seconds", Ask(False, 90_000_000)),
        (Cancel(), "the job cancelled itself", None),
        (Cancel("a holiday"), "a holiday", None),
        (ValueError("no"), "no", None),
    ],
)
def test_each_says_in_words_and_as_data_what_it_asks_for(
    error: Exception, text: str, ask: Ask | None
) -> None:
    assert (str(error), ask_of(error)) == (text, ask)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), ask_of(again)) == (type(error), text, ask)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), 1e11, True, "5", [1]])
def test_a_delay_that_is_none_is_refused_where_it_is_raised(delay: Any) -> None:
    for kind in (Retry, Snooze):
        with pytest.raises(ValidationFailed) as refused:
            kind(delay)
        assert refused.value.details["path"] == "delay"


@pytest.mark.parametrize("kind", [Cancel, lambda reason: Retry(None, reason)])
def test_a_reason_is_text(kind: Callable[[Any], Exception]) -> None:
    with pytest.raises(ValidationFailed, match="reason must be text"):
        kind(5)


class Careless(Retry):
    """A subclass that forgets what it is."""

    def __init__(self) -> None:
        Exception.__init__(self)


class Spoilt(Snooze):
    """A subclass that ends whoever looks at it."""

    def __init__(self) -> None:
        Exception.__init__(self)

    @property
    def delay(self) -> float:  # type: ignore[override]  # as a job may do
        raise SystemExit


@pytest.mark.parametrize("error", [Careless(), Spoilt()])
def test_a_subclass_that_lost_its_values_asks_for_nothing(error: Exception) -> None:
    assert ask_of(error) is None
    assert word_of(error) in ("Retry", "Snooze")


class Timeout(ConnectionError):
    class Inner(Exception):
        pass


def test_an_exception_is_known_by_the_names_of_its_class_and_bases() -> None:
    assert kinds_of(Timeout()) == (
        "Timeout", f"{__name__}.Timeout", "ConnectionError", "builtins.ConnectionError",
        "OSError", "builtins.OSError", "Exception", "builtins.Exception",
        "BaseException", "builtins.BaseException", "object", "builtins.object",
    )  # fmt: skip
    assert kinds_of(Timeout.Inner)[:2] == ("Inner", f"{__name__}.Timeout.Inner")


class Hostile(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]  # as a job may do
        raise RuntimeError("no name")


def test_an_exception_that_hides_its_name_is_known_by_none() -> None:
    class Odd(Exception, metaclass=Hostile):
        pass

    assert kinds_of(Odd()) == ()


def outcome_of(rig: Rig, claim: MakeClaim, error: BaseException) -> Outcome:
    """What is reported of a job that raises ``error``."""

    @rig.job("raise")
    def job() -> None:
        raise error

    rig.runner.submit([claim("x1", job="raise")])
    return rig.wait(1)[0]


@pytest.mark.parametrize(
    ("error", "fate", "type_", "message", "ask"),
    [
        (Retry(5, "busy"), Fate.FAILED, "Retry", "busy", Ask(True, 5_000_000)),
        (Careless(), Fate.FAILED, "Retry", "", None),
        (Snooze(5), Fate.CANCELLED, "Snooze", "run again in 5 seconds", Ask(False, 5_000_000)),
        (Cancel("a holiday"), Fate.CANCELLED, "Cancel", "a holiday", None),
        (KeyError("x"), Fate.FAILED, "KeyError", "'x'", None),
    ],
)
def test_what_a_job_raises_is_its_outcome(
    rig: Rig,
    claim: MakeClaim,
    error: Exception,
    fate: Fate,
    type_: str,
    message: str,
    ask: Ask | None,
) -> None:
    outcome = outcome_of(rig, claim, error)
    assert (outcome.fate, outcome.ask, outcome.kinds) == (fate, ask, kinds_of(error))
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == (type_, message)


def test_only_what_failed_is_logged_as_a_failure(
    rig: Rig, claim: MakeClaim, logged: list[dict[str, Any]]
) -> None:
    for number, error in enumerate([Snooze(1), Cancel("no"), Retry(), KeyError("x")]):
        rig.registry.register(_raising(error), f"raise{number}")
        rig.runner.submit([claim(f"x{number}", job=f"raise{number}")])
    rig.wait(4)
    rig.runner.stop(10)
    told = {entry["job"] for entry in logged if entry["event"] == "execution_failed"}
    assert told == {"raise2", "raise3"}


def _raising(error: Exception) -> Callable[[], None]:
    def job() -> None:
        raise error

    return job
