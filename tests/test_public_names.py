"""Every public name can be had from one place and explains itself."""

from __future__ import annotations

import inspect

import kalends


def test_the_list_of_public_names_is_sorted_and_complete() -> None:
    assert sorted(kalends.__all__) == list(kalends.__all__)
    assert all(hasattr(kalends, name) for name in kalends.__all__)


def test_every_public_name_has_a_docstring_of_its_own() -> None:
    for name in kalends.__all__:
        found = getattr(kalends, name)
        assert inspect.getdoc(found), name
        if inspect.isclass(found) and issubclass(found, BaseException):
            assert found.__doc__, name


def test_every_public_method_of_the_facade_and_the_proxies_has_a_docstring() -> None:
    from kalends.actors import proxies

    classes = [kalends.Scheduler, *(getattr(proxies, name) for name in proxies.__all__)]
    for cls in classes:
        for name, found in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("_"):
                assert inspect.getdoc(found), f"{cls.__name__}.{name}"
