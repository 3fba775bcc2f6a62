"""A prepared query runs as if it had been built with its values."""

from __future__ import annotations

from typing import Any

import pytest

from kalends.storage.models import MetaRow
from kalends.storage.prepared import Prepared, hole
from kalends.storage.sqlite import SqliteDialect


@pytest.fixture
def db() -> Any:
    made = SqliteDialect(None, durability="normal", busy_timeout=0.0).connect(read_only=False)
    MetaRow.insert_many([{"key": key, "value": key.upper()} for key in "abc"]).execute(made)
    yield made
    made.close()


def test_values_go_into_their_holes_whatever_their_order(db: Any) -> None:
    query = Prepared(
        MetaRow.select(MetaRow.value, hole("mark"))
        .where(MetaRow.key >= hole("low"), MetaRow.key <= hole("high"), MetaRow.key != "b")
        .order_by(MetaRow.key.desc())
        .limit(hole("limit"))
    )
    assert query.rows(db, high="c", low="a", mark=7, limit=5) == [("C", 7), ("A", 7)]
    assert query.rows(db, high="c", low="b", mark=None, limit=5) == [("C", None)]
    assert query.value(db, high="c", low="a", mark=0, limit=1) == "C"
    assert query.value(db, high="a", low="c", mark=0, limit=1) is None


def test_a_change_says_how_many_rows_it_changed(db: Any) -> None:
    change = Prepared(MetaRow.update(value=hole("value")).where(MetaRow.key == hole("key")))
    assert change.change(db, key="a", value="1") == 1
    assert change.change(db, key="nobody", value="1") == 0


def test_a_hole_without_a_value_is_an_error(db: Any) -> None:
    with pytest.raises(KeyError, match="key"):
        Prepared(MetaRow.select().where(MetaRow.key == hole("key"))).rows(db)
