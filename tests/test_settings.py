"""Settings: sources, precedence, and every problem told at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kalends import CleanupRule, Policies, Settings, ValidationFailed


def problems(**sources: Any) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as caught:
        Settings.load(**{"environ": {}, **sources})
    found: dict[str, str] = caught.value.details["problems"]
    for path, text in found.items():
        assert f"{path}: {text}" in caught.value.message
    return found


def test_without_any_source_there_are_the_defaults() -> None:
    assert Settings.load(environ={}) == Settings()


def test_keywords_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kalends.toml"
    file.write_text("workers = 1\nreaders = 1\nlease = 10\nenabled = false\n")
    environ = {"KALENDS_READERS": "3", "KALENDS_LEASE": "20.5", "UNRELATED": "x"}
    settings = Settings.load(file, environ, lease=30)
    assert (settings.workers, settings.readers, settings.lease) == (1, 3, 30.0)
    assert settings.enabled is False


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    values = {
        "workers": 3,
        "policies": {"catch_up": "all", "max_attempts": 2},
        "cleanup": [
            {"name": "a", "directory": str(tmp_path / "x"), "pattern": "*.log", "keep_last": 2}
        ],
    }
    (tmp_path / "k.json").write_text(json.dumps(values))
    (tmp_path / "k.toml").write_text(
        "workers = 3\n[policies]\ncatch_up = 'all'\nmax_attempts = 2\n[[cleanup]]\n"
        f"name = 'a'\ndirectory = '{tmp_path / 'x'}'\npattern = '*.log'\nkeep_last = 2\n"
    )
    settings = Settings.load(tmp_path / "k.json", {})
    assert settings == Settings.load(str(tmp_path / "k.toml"), {})
    assert settings.policies == Policies(catch_up="all", max_attempts=2)  # type: ignore[arg-type]
    assert [rule.name for rule in settings.cleanup] == ["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("Yes", True), ("on", True), ("false", False), ("NO", False), ("off", False)],
)
def test_words_in_the_environment_are_truth_values(text: str, expected: bool) -> None:
    assert Settings.load(environ={"KALENDS_ENABLED": text}).enabled is expected


def test_the_environment_holds_numbers_words_nothing_and_json(tmp_path: Path) -> None:
    rule = {"name": "a", "directory": str(tmp_path / "x"), "pattern": "*", "older_than": 5}
    settings = Settings.load(
        environ={
            "KALENDS_WORKERS": "5",
            "KALENDS_DURABILITY": "normal",
            "KALENDS_RETAIN_AGE": "none",
            "KALENDS_CLEANUP": json.dumps([rule]),
            "KALENDS_POLICIES": '{"overlap": "allow_all"}',
        }
    )
    assert (settings.workers, settings.durability, settings.retain_age) == (5, "normal", None)
    assert settings.cleanup[0].older_than == 5
    assert settings.policies.overlap == "allow_all"


def test_every_problem_is_in_one_error_with_its_path(tmp_path: Path) -> None:
    found = problems(
        environ={"KALENDS_WORKRES": "5", "KALENDS_LEASE": "soon"},
        readers=0,
        durability="ful",
        nonsense=1,
        enabled=1,
        max_sleep=float("nan"),
        policies={"catch_up": "al"},
        cleanup=[{"name": "a", "directory": "relative", "pattern": "*", "keep_last": 1}],
    )
    assert set(found) == {
        "KALENDS_WORKRES", "lease", "readers", "durability", "nonsense", "enabled", "max_sleep",
        "policies", "cleanup.directory",
    }  # fmt: skip
    assert "did you mean 'workers'?" in found["KALENDS_WORKRES"]
    assert "between 1 and 64" in found["readers"]


def test_policies_are_checked_field_by_field() -> None:
    found = problems(policies={"max_attempts": 0, "catch_up_window": -1, "overlp": "skip"})
    assert set(found) == {
        "policies.max_attempts", "policies.catch_up_window", "policies.overlp",
    }  # fmt: skip
    assert "did you mean 'overlap'?" in found["policies.overlp"]
    assert set(problems(policies=Policies(max_attempts=10**9))) == {"policies.max_attempts"}
    assert problems(policies={"delivery": "at_most_once", "retries": 2}) == {
        "policies.retries": "at_most_once allows no further attempt: say retries=0"
    }
    assert set(problems(policies={"retry_on": ["no name"]})) == {"policies.retry_on[0]"}
    assert set(problems(policies={"timeout": 0})) == {"policies.timeout"}


def test_settings_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    assert set(problems(claim_batch=100, claim_limit=10)) == {"claim_batch"}
    assert set(problems(restart_backoff=5, restart_backoff_limit=1)) == {"restart_backoff"}
    rule = {"name": "a", "directory": str(tmp_path / "x"), "pattern": "*", "keep_last": 1}
    assert set(problems(cleanup=[rule, rule])) == {"cleanup"}


@pytest.mark.parametrize("name", ["workers", "lease", "retain_count", "ask_timeout"])
def test_a_truth_value_is_no_number(name: str) -> None:
    assert set(problems(**{name: True})) == {name}


@pytest.mark.parametrize(
    ("name", "text"),
    [("k.toml", "workers = "), ("k.json", "{"), ("k.json", "[1]"), ("k.toml", "\x00"), ("k", "=")],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValidationFailed) as caught:
        Settings.load(tmp_path / name, {})
    assert caught.value.details["path"] == "file"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationFailed, match="none"):
        Settings.load(tmp_path / "none.toml", {})


def test_settings_made_by_hand_are_checked_too() -> None:
    assert Settings(workers=2).checked() == Settings(workers=2)
    with pytest.raises(ValidationFailed) as caught:
        Settings(workers="many", lease=-1).checked()  # type: ignore[arg-type]
    assert set(caught.value.details["problems"]) == {"workers", "lease"}


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Settings().workers = 5  # type: ignore[misc]


def test_every_number_among_the_settings_has_a_range() -> None:
    numbers = {
        field.name
        for field in msgspec.structs.fields(Settings)
        if any(kind in str(field.type) for kind in ("int", "float"))
    }
    for name in numbers:
        assert set(problems(**{name: -(10**30)})) == {name}


def test_a_rule_given_as_itself_is_kept(tmp_path: Path) -> None:
    rule = CleanupRule.checked(name="a", directory=str(tmp_path), pattern="*", keep_last=1)
    assert Settings.load(environ={}, cleanup=[rule]).cleanup == (rule,)


def test_a_variable_of_an_orchestrator_is_no_setting_and_no_mistake() -> None:
    environ = {"KALENDS_SERVICE_HOST": "10.0.0.1", "KALENDS_PORT_80_TCP": "tcp://10.0.0.1:80"}
    assert Settings.load(environ=environ) == Settings.load(environ={})


# -- named limits ------------------------------------------------------------------------------


def test_named_limits_are_sizes_by_name_from_any_source(tmp_path: Path) -> None:
    file = tmp_path / "kalends.toml"
    file.write_text("[concurrency_limits]\ndb = 3\n")
    assert Settings.load(file, {}).concurrency_limits == {"db": 3}
    environ = {"KALENDS_CONCURRENCY_LIMITS": '{"db": 4, "disk": 1}'}
    assert Settings.load(file, environ).concurrency_limits == {"db": 4, "disk": 1}


@pytest.mark.parametrize(
    ("limits", "path"),
    [
        ({"db": 0}, "concurrency_limits.db"),
        ({"db": 1_000_001}, "concurrency_limits.db"),
        ({"": 1}, "concurrency_limits."),
        ({"d\x00b": 1}, "concurrency_limits.d\x00b"),
        ({"x" * 201: 1}, "concurrency_limits." + "x" * 201),
        ({"db": True}, "concurrency_limits"),
        ({"db": "many"}, "concurrency_limits"),
        (["db"], "concurrency_limits"),
    ],
)
def test_a_limit_that_is_none_is_a_problem(limits: object, path: str) -> None:
    assert list(problems(concurrency_limits=limits)) == [path]


def test_the_limit_of_the_default_policies_has_to_be_there() -> None:
    found = problems(concurrency_limits={"db": 1}, policies={"concurrency_limit": "dbs"})
    assert found == {"policies.concurrency_limit": "there is no such limit (did you mean 'db'?)"}
