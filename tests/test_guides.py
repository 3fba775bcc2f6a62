"""The pages for newcomers and for the surprised: what they say to write can be written.

The tables of "Coming from another scheduler" hold code in their second column. All of it is run
against a scheduler in virtual time; rules are scheduled, too.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pendulum
import pytest

import kalends
from kalends import errors
from kalends.jobs.executors.thread import ThreadExecutor
from kalends.storage import sqlite_file
from kalends.storage.postgres import troubles
from kalends.testing import VirtualScheduler

DOCS = Path(__file__).resolve().parents[1] / "docs"


def page(name: str) -> str:
    """The text of a page."""
    return (DOCS / name).read_text(encoding="utf-8")


def comparisons() -> Iterator[tuple[str, str]]:
    """Place and second cell of each row of the tables for those who come from elsewhere."""
    peer = ""
    for line in page("coming-from.md").splitlines():
        if line.startswith("## "):
            peer = line.removeprefix("## ")
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and cells[1] not in ("write here", "---", ""):
            yield f"{peer}: {cells[0]}", cells[1]


def work(*_args: object, **_kwargs: object) -> None:
    """A job that every executor of functions finds."""


@pytest.fixture(scope="module")
def words() -> Iterator[dict[str, Any]]:
    """What the second column may name: the public names, a scheduler that runs, two instants."""
    registry = kalends.Registry()
    registry.register(work, "work")
    start = pendulum.datetime(2027, 1, 4)
    limits = {"reports": 3}
    with VirtualScheduler(registry=registry, start=start, concurrency_limits=limits) as scheduler:
        names = {name: getattr(kalends, name) for name in kalends.__all__}
        span = {"start": start.add(days=1), "end": start.add(days=60)}
        names["ThreadExecutor"] = ThreadExecutor
        yield {**names, **span, "scheduler": scheduler, "job": registry.job}


@pytest.mark.parametrize("cell", [pytest.param(cell, id=place) for place, cell in comparisons()])
def test_what_a_newcomer_is_told_to_write_can_be_written(cell: str, words: dict[str, Any]) -> None:
    scheduler = words["scheduler"]
    for event in scheduler.list_events(limit=1000).items:
        scheduler.delete_event(event.id)
    words["event"] = scheduler.schedule_event("work", words["every"](hours=1))
    if "execution.id" in cell:
        words["execution"] = scheduler.move_next(words["event"].id, words["end"])
    written = re.findall(r"`(.+?)`", cell)
    assert ", ".join(f"`{code}`" for code in written) == cell, "code only, separated by commas"
    for code in (code.replace(r"\|", "|") for code in written):
        if re.match(r"\w+=", code):  # keywords of schedule_event
            code = f"scheduler.schedule_event('work', every(hours=1), {code})"
        answer = eval(code, words)  # noqa: S307  (the page's own code)
        if isinstance(answer, kalends.Trigger):
            scheduler.schedule_event("work", answer)


def test_every_scheduler_that_people_come_from_has_its_table() -> None:
    count = Counter(place.split(": ")[0] for place, _ in comparisons())
    assert list(count) == [
        "APScheduler 3", "APScheduler 4", "Celery beat", "Huey", "cron", "systemd timers", "Quartz",
    ]  # fmt: skip
    assert min(count.values()) > 8


def test_troubleshooting_has_every_refusal_and_every_trouble_of_the_database() -> None:
    public = [getattr(errors, name) for name in errors.__all__]
    kinds = [kind for kind in public if inspect.isclass(kind) and kind.__base__ is not object]
    codes = {str(vars(kind)["code"]) for kind in kinds} - {"KALENDS_ERROR"}
    assert len(codes) > 15
    text = page("troubleshooting.md")
    assert {code for code in codes if code not in text} == set()
    _, _, told = text.partition("| `status().storage` | because | so |\n|---|---|---|\n")
    rows = told.partition("\n\n")[0].splitlines()
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row.split("|")[1])}
    # What met a deadlock is run again, and nobody is told.
    known = {*sqlite_file.TROUBLES.values(), "replaced", *troubles.REASONS} - {"deadlock"}
    assert named == known
