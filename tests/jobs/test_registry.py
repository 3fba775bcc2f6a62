"""Names and functions: explicit, checked, and never imported unasked."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from kalends.errors import ConflictError, JobNotFound, ValidationFailed
from kalends.jobs.registry import Registry, default_registry


def daily() -> str:
    return "daily"


def weekly() -> str:
    return "weekly"


async def coroutine() -> None: ...


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class PlainCallable:
    def __call__(self) -> int:
        return 1

    def method(self) -> int:
        return 2


class AsyncCallable:
    async def __call__(self) -> int:
        return 1


# -- registering ---------------------------------------------------------------------------------


def test_the_decorator_works_in_its_three_forms_and_returns_the_function() -> None:
    registry = Registry()
    assert registry.job(daily) is daily
    assert registry.job("reports.daily")(daily) is daily
    assert registry.job("x", executor="process")(daily) is daily
    assert registry.names() == tuple(sorted([f"{__name__}.daily", "reports.daily", "x"]))
    assert registry.get("x").executor == "process"
    assert registry.get("reports.daily").function() == "daily"
    assert registry.job()(weekly) is weekly
    assert registry.get(f"{__name__}.weekly").executor == "thread"


def test_one_name_for_two_functions_is_a_conflict_and_changes_nothing() -> None:
    registry = Registry()
    registry.register(daily, "x")
    with pytest.raises(ConflictError, match="another name"):
        registry.register(weekly, "x")
    assert registry.get("x").function is daily


def test_the_same_function_defined_again_replaces_the_old_one() -> None:
    registry = Registry()
    registry.register(daily, "x")
    namespace: dict[str, Any] = {"__name__": __name__}
    exec("def daily(): return 'reloaded'", namespace)
    registry.register(namespace["daily"], "x")
    assert registry.get("x").function() == "reloaded"


def test_two_lambdas_of_one_name_are_different_functions() -> None:
    registry = Registry()
    registry.register(lambda: 1, "x")
    with pytest.raises(ConflictError):
        registry.register(lambda: 2, "x")


def test_what_has_no_stable_name_must_be_given_one() -> None:
    def local() -> None: ...

    for nameless in (lambda: 1, local, functools.partial(daily), PlainCallable()):
        with pytest.raises(ValidationFailed, match="give one"):
            Registry().register(nameless)
        Registry().register(nameless, "named")


@pytest.mark.parametrize("name", ["", "a b", "x" * 201, "a/b", "a\n", "a;b", 7, b"x"])
def test_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(ValidationFailed) as refused:
        Registry().register(daily, name)
    assert refused.value.details["path"] == "name"


@pytest.mark.parametrize("name", ["a", "reports.daily", "a:b-c_d.9", "x" * 200])
def test_a_good_name_is_taken(name: str) -> None:
    registry = Registry()
    registry.register(daily, name)
    assert registry.get(name).name == name


@pytest.mark.parametrize("thing", [None, 3, "print", object()])
def test_what_is_not_callable_is_refused(thing: Any) -> None:
    with pytest.raises(ValidationFailed):
        Registry().register(thing, "x")


@pytest.mark.parametrize(
    "function",
    [coroutine, functools.partial(coroutine), AsyncCallable(), AsyncCallable().__call__, generator],
)
def test_a_function_whose_body_a_thread_would_not_run_is_refused(function: Any) -> None:
    with pytest.raises(ValidationFailed, match="would not run its body"):
        Registry().register(function, "x", "thread")


@pytest.mark.parametrize("executor", [None, "asyncio", "loop"])
@pytest.mark.parametrize(
    "function",
    [coroutine, functools.partial(coroutine), AsyncCallable(), AsyncCallable().__call__],
)
def test_a_coroutine_function_is_a_job_for_asyncio_or_what_may_be_like_it(
    function: Any, executor: str | None
) -> None:
    registry = Registry()
    registry.register(function, "x", executor)
    job = registry.get("x")
    assert (job.executor, job.coroutine) == (executor or "asyncio", True)


@pytest.mark.parametrize("executor", [None, "thread", "asyncio", "io"])
@pytest.mark.parametrize("function", [generator, async_generator])
def test_a_generator_function_is_no_job(function: Any, executor: str | None) -> None:
    with pytest.raises(ValidationFailed, match="generator function") as refused:
        Registry().register(function, "x", executor)
    assert refused.value.details["path"] == "function"


def test_a_plain_function_is_no_job_for_asyncio() -> None:
    with pytest.raises(ValidationFailed, match="no coroutine function") as refused:
        Registry().register(daily, "x", "asyncio")
    assert refused.value.details["path"] == "executor"
    Registry().register(daily, "x", "io")  # which may be of any kind


@pytest.mark.parametrize("executor", ["", 3, b"thread"])
def test_an_executor_that_is_no_name_is_refused(executor: Any) -> None:
    with pytest.raises(ValidationFailed):
        Registry().register(daily, "x", executor)


# -- looking up ----------------------------------------------------------------------------------


def test_an_unknown_name_suggests_the_near_one() -> None:
    registry = Registry()
    registry.register(daily, "reports.daily")
    with pytest.raises(JobNotFound, match=r"did you mean 'reports\.daily'") as refused:
        registry.get("reports.dialy")
    assert refused.value.details["job"] == "reports.dialy"


@pytest.mark.parametrize("name", [None, 7, [], {}, "x" * 100_000, "\ud800"])
def test_any_wrong_name_is_refused_clearly(name: Any) -> None:
    with pytest.raises(JobNotFound):
        Registry().get(name)
    assert Registry().find(name) is None


def test_name_of_answers_for_functions_methods_and_names() -> None:
    registry, thing = Registry(), PlainCallable()
    registry.register(daily, "d")
    registry.register(thing, "t")
    registry.register(thing.method, "m")
    assert [registry.name_of(each) for each in (daily, thing, thing.method, "d")] == [*"dtmd"]
    with pytest.raises(JobNotFound, match="not registered"):
        registry.name_of(weekly)
    with pytest.raises(JobNotFound):
        registry.name_of("w")
    with pytest.raises(ValidationFailed):
        registry.name_of(3)  # type: ignore[arg-type]  # what a host may pass by mistake


def test_registering_from_many_threads_loses_nothing() -> None:
    registry = Registry()
    threads = [
        threading.Thread(
            target=lambda part: [registry.register(daily, f"{part}.{n}") for n in range(200)],
            args=(part,),
        )
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(registry.names()) == 800


def test_there_is_a_default_registry() -> None:
    assert isinstance(default_registry, Registry)


# -- importing -----------------------------------------------------------------------------------

SOURCE = """
from functools import partial
from os import getcwd
from threading import Thread

def daily():
    return "imported"

class Thing:
    pass

async def later():
    pass

value = 7
wrapped = partial(getcwd)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "kalends_app").mkdir()
    (tmp_path / "kalends_app" / "__init__.py").write_text("")
    (tmp_path / "kalends_app" / "reports.py").write_text(SOURCE)
    (tmp_path / "kalends_app" / "exits.py").write_text("raise SystemExit(1)")
    (tmp_path / "kalends_apple.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.startswith("kalends_app")]:
        del sys.modules[name]


@pytest.mark.parametrize("prefix", ["kalends_app", "kalends_app.", "kalends_app.reports"])
def test_a_function_under_an_allowed_prefix_is_imported(package: None, prefix: str) -> None:
    registry = Registry(allow_imports=(prefix,))
    name = "kalends_app.reports:daily"
    assert registry.find(name) is None
    assert registry.importable(name)
    assert registry.get(name).function() == "imported"
    assert registry.find(name) is registry.get(name)
    assert registry.name_of(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "os:getcwd",
        "kalends_apple:daily",
        "kalends_app.reports:getcwd",
        "kalends_app.reports:Thread",
        "kalends_app.reports:Thing",
        "kalends_app.reports:wrapped",
        "kalends_app.reports:value",
        "kalends_app.reports:missing",
        "kalends_app.missing:daily",
        "kalends_app.exits:daily",
        "kalends_app.reports:daily.__globals__",
        "kalends_app.reports.daily",
        "kalends_app..reports:daily",
        ".kalends_app:daily",
    ],
)
def test_nothing_else_is_imported_or_run(package: None, name: str) -> None:
    registry = Registry(allow_imports=("kalends_app.",))
    with pytest.raises(JobNotFound):
        registry.get(name)


def test_an_imported_coroutine_function_is_a_job_for_asyncio(package: None) -> None:
    job = Registry(allow_imports=("kalends_app.",)).get("kalends_app.reports:later")
    assert (job.executor, job.coroutine) == ("asyncio", True)


def test_without_allowed_prefixes_no_text_is_imported(package: None) -> None:
    registry = Registry()
    assert not registry.importable("kalends_app.reports:daily")
    with pytest.raises(JobNotFound, match="allow_imports"):
        registry.get("kalends_app.reports:daily")
    assert "kalends_app.reports" not in sys.modules


@pytest.mark.parametrize("prefix", ["", ".", "a b", "os;", None, 3, "a..b"])
def test_a_prefix_that_is_no_module_is_refused(prefix: Any) -> None:
    with pytest.raises(ValidationFailed):
        Registry(allow_imports=(prefix,))


@pytest.mark.parametrize("prefixes", ["myapp", "m" * 10_000_000, b"myapp", 5, None], ids=type)
def test_a_text_is_not_taken_for_the_prefixes_that_its_letters_are(prefixes: Any) -> None:
    with pytest.raises(ValidationFailed, match=r"takes a list such as \['myapp.'\]") as refusal:
        Registry(allow_imports=prefixes)
    assert refusal.value.details["path"] == "allow_imports"


def test_a_prefix_has_at_most_200_characters() -> None:
    Registry(allow_imports=["m" * 200])
    with pytest.raises(ValidationFailed):
        Registry(allow_imports=["m" * 201])
