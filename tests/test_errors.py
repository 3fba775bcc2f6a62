"""Every refusal has a stable code, says what it is, carries data and survives pickling."""

from __future__ import annotations

import inspect
import pickle

import pykka
import pytest

from kalends import errors
from kalends.errors import AskTimeout, KalendsError, ValidationFailed, did_you_mean

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, KalendsError)
]


def test_every_code_is_upper_case_and_belongs_to_one_class() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes) > 15
    assert all(code == code.upper() and code.replace("_", "").isalpha() for code in codes)


def test_every_class_says_whose_fault_it_is() -> None:
    assert all(cls.__doc__ and "__init__" not in cls.__doc__ for cls in CLASSES)
    assert {cls.__name__ for cls in CLASSES} == set(errors.__all__) - {"did_you_mean"}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_survives_pickling_with_its_data(cls: type[KalendsError]) -> None:
    copy = pickle.loads(pickle.dumps(cls("no such thing", path="a[0]", limit=3)))
    assert type(copy) is cls
    assert (copy.message, copy.details) == ("no such thing", {"path": "a[0]", "limit": 3})
    assert str(copy) == f"{cls.code}: no such thing"


def test_a_time_out_is_what_python_and_pykka_call_one() -> None:
    assert issubclass(AskTimeout, TimeoutError)
    with pytest.raises(pykka.Timeout):
        raise AskTimeout("no answer")


def test_the_nearest_name_is_suggested_and_nothing_where_none_is_near() -> None:
    assert did_you_mean("catchup", ["catch_up", "overlap"]) == " (did you mean 'catch_up'?)"
    assert did_you_mean("zebra", ["catch_up", "overlap"]) == ""
    assert did_you_mean("x" * 1_000_000, ["catch_up"]) == ""


def test_a_refusal_of_an_argument_is_one_class_for_hosts_to_catch() -> None:
    assert issubclass(errors.PayloadTooLarge, ValidationFailed)
    assert issubclass(errors.VersionConflict, errors.ConflictError)
