"""The tables of statuses and fates are whole, and the values are frozen."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from kalends import messages, model
from kalends.model import EVENT_TRANSITIONS, FATE_TRANSITIONS, OPEN_FATES, EventStatus, Fate


def test_every_fate_has_its_row_and_only_open_ones_lead_on() -> None:
    assert set(FATE_TRANSITIONS) == set(Fate)
    assert {fate for fate, after in FATE_TRANSITIONS.items() if after} == set(OPEN_FATES)


def test_every_end_can_be_reached_and_nothing_that_ran_is_skipped() -> None:
    reached = set().union(*FATE_TRANSITIONS.values())
    assert reached == set(Fate)
    assert Fate.SKIPPED not in FATE_TRANSITIONS[Fate.RUNNING]


def test_every_status_is_reached_by_a_verb_and_a_tombstone_stays_one() -> None:
    made = {after for verb in EVENT_TRANSITIONS.values() for after in verb.values()}
    assert made == set(EventStatus)
    assert all(EventStatus.DELETED not in verb for verb in EVENT_TRANSITIONS.values())
    assert set(EVENT_TRANSITIONS["delete"]) == set(EventStatus) - {EventStatus.DELETED}


@pytest.mark.parametrize("module", [model, messages], ids=["model", "messages"])
def test_all_values_and_messages_are_frozen_and_documented(module: object) -> None:
    structs = [
        found
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, msgspec.Struct) and found.__module__ == module.__name__  # type: ignore[attr-defined]
    ]
    assert structs
    assert all(found.__struct_config__.frozen for found in structs)
    assert all(found.__doc__ for found in structs)
