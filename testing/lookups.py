"""Finding things in a scheduler's ledger: events by name, all items of a listing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kalends.errors import EventNotFound, did_you_mean
from kalends.model import Event
from kalends.verbs import Verbs

__all__ = ["every_item", "find_event"]


def every_item(listing: Callable[..., Any], **query: Any) -> Iterator[Any]:
    """What ``listing(**query)`` gives, page after page, as ``Scheduler.list_executions`` does."""
    page = listing(**query, limit=1000)
    yield from page.items
    while page.cursor is not None:
        page = listing(**query, limit=1000, cursor=page.cursor)
        yield from page.items


def find_event(scheduler: Verbs, name: str) -> Event:
    """The event of this name that is not deleted. Raises ``EventNotFound``."""
    for event in every_item(scheduler.list_events, name=name):
        if event.name == name:  # an asterisk in a name matches others, too
            found: Event = event
            return found
    known = [event.name for event in every_item(scheduler.list_events)]
    raise EventNotFound(f"there is no event named {name!r}{did_you_mean(name, known)}", name=name)
