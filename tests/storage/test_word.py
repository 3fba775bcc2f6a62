"""The writer sleeps while nobody commits, and hears of it when somebody does."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import apsw
import peewee
import pytest

from kalends.storage.engine import Storage
from kalends.storage.facts import put_fact

Open = Callable[..., Storage]
Until = Callable[..., Any]
WAIT = 10.0
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it looks again and again")


def put(key: str) -> Callable[[peewee.Database], None]:
    """A unit that stores a fact."""
    return lambda db: put_fact(db, key, "1")


class Watched:
    """A storage that is watched, with looks that come soon; ``heard`` once others have committed.

    At rest it looks no more: what it hears from then on begins with a word.
    """

    def __init__(self, storage: Storage, until: Until) -> None:
        self.storage = storage
        self.heard = threading.Event()
        self._until = until
        storage.look_every = 0.02
        storage.watch(self.heard.set).get(timeout=WAIT)
        storage.write(put("own")).get(timeout=WAIT)

    def at_rest(self) -> bool:
        return self.storage._writer._rest._beside

    def settle(self) -> None:
        """Wait until it sleeps for as long as nobody says anything."""
        self._until(self.at_rest)
        self.heard.clear()


@on_linux
def test_it_sleeps_in_the_system_until_others_commit(open_storage: Open, until: Until) -> None:
    one, two = open_storage(), open_storage()
    watched = Watched(one, until)
    watched.settle()
    two.write(put("theirs")).get(timeout=WAIT)
    assert watched.heard.wait(WAIT)


@on_linux
def test_asleep_it_works_when_it_is_asked_to_and_its_own_commits_are_no_news(
    open_storage: Open, until: Until
) -> None:
    watched = Watched(open_storage(), until)
    for number in range(3):
        until(watched.at_rest)
        watched.storage.write(put(f"own-{number}")).get(timeout=WAIT)
    watched.settle()
    assert not watched.storage.others_committed().get(timeout=WAIT)
    assert not watched.heard.is_set()


@on_linux
def test_it_ends_while_it_sleeps_and_leaves_no_file_open(open_storage: Open, until: Until) -> None:
    open_storage().write(put("all that is imported late")).get(timeout=WAIT)
    before = len(os.listdir("/proc/self/fd"))
    storage = open_storage("another.db")
    watched = Watched(storage, until)
    watched.settle()
    assert storage.close(WAIT)
    assert len(os.listdir("/proc/self/fd")) == before


@on_linux
@pytest.mark.on_sqlite
def test_it_does_not_lie_down_while_another_transaction_is_under_way(
    open_storage: Open, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage()
    assert storage.dialect.path is not None
    other = apsw.Connection(str(storage.dialect.path))
    watched = Watched(storage, until)
    until(watched.at_rest)
    other.execute("BEGIN IMMEDIATE; UPDATE kalends_meta SET value = '2' WHERE key = 'own'")
    storage._writer._rest.rouse()
    looks: list[int] = []
    really = storage.dialect.others_committed

    def look(db: peewee.Database) -> bool:
        looks.append(1)
        return really(db)

    monkeypatch.setattr(storage.dialect, "others_committed", look)
    until(lambda: len(looks) > 3)
    assert not watched.at_rest(), "what is written already would give no word when it is committed"
    other.execute("COMMIT")
    assert watched.heard.wait(WAIT)
    until(watched.at_rest)
    other.close()


@on_linux
@pytest.mark.on_sqlite
def test_a_fork_wakes_it_and_it_hears_of_others_afterwards(
    open_storage: Open, until: Until
) -> None:
    one, two = open_storage(), open_storage()
    watched = Watched(one, until)
    until(watched.at_rest)
    somebody = apsw.Connection(str(one.dialect.path))  # the log stays, and is not written to
    somebody.execute("SELECT value FROM kalends_meta").fetchall()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of any beside threads
        child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert watched.heard.wait(WAIT), "what was committed meanwhile it cannot know"
    watched.settle()
    two.write(put("theirs")).get(timeout=WAIT)
    assert watched.heard.wait(WAIT)
    somebody.close()


@pytest.mark.on_sqlite
def test_where_there_is_no_word_it_looks(
    open_storage: Open, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = open_storage(), open_storage()
    monkeypatch.setattr(one.dialect, "ask_for_word", lambda db: None)
    watched = Watched(one, until)
    for number in range(2):
        two.write(put(f"theirs-{number}")).get(timeout=WAIT)
        assert watched.heard.wait(WAIT)
        watched.heard.clear()
    assert not watched.at_rest()


@on_linux
def test_where_the_system_gives_no_more_files_it_looks(
    open_storage: Open, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = open_storage(), open_storage()
    refused = threading.Event()

    def refuse() -> Any:
        refused.set()
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("kalends.storage.rest._pipe", refuse)
    watched = Watched(one, until)
    assert refused.wait(WAIT)
    two.write(put("theirs")).get(timeout=WAIT)
    assert watched.heard.wait(WAIT)
