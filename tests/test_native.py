"""Threads stay threads and locks stay locks, whatever the host patched."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from kalends.native import BriefLock, NativeThread, allocate_lock, get_ident


def test_a_native_thread_runs_its_target_once_on_a_thread_of_its_own() -> None:
    idents: list[int] = []
    thread = NativeThread(lambda: idents.append(get_ident()), "native-test")
    thread.start()
    assert thread.join(5.0)
    assert thread.join(5.0)
    assert len(idents) == 1
    assert idents[0] != get_ident()


def test_it_bears_its_name_and_is_a_daemon_where_nothing_is_patched() -> None:
    seen: list[tuple[str, bool]] = []

    def look() -> None:
        thread = threading.current_thread()
        seen.append((thread.name, thread.daemon))

    thread = NativeThread(look, "native-name")
    thread.start()
    assert thread.join(5.0)
    assert seen == [("native-name", True)]


def test_join_says_when_the_thread_has_not_ended_in_time() -> None:
    hold = allocate_lock()
    hold.acquire()

    def wait() -> None:
        hold.acquire()

    thread = NativeThread(wait, "native-slow")
    thread.start()
    assert not thread.join(0.01)
    hold.release()
    assert thread.join(5.0)


def test_a_thread_that_joins_itself_is_told_no_instead_of_waiting() -> None:
    answers: list[bool] = []
    thread = NativeThread(lambda: answers.append(thread.join(60.0)), "native-self")
    thread.start()
    assert thread.join(5.0)
    assert answers == [False]


def test_a_join_before_the_start_returns() -> None:
    assert NativeThread(lambda: None, "native-unstarted").join(0.01)


def test_a_thread_that_the_system_refuses_is_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    thread = NativeThread(lambda: None, "native-refused")
    with pytest.raises(RuntimeError, match="can't start"):
        thread.start()
    assert thread.join(0.0)


def test_a_new_thread_with_the_ident_of_an_ended_one_may_join_it() -> None:
    for _ in range(20):
        ended = NativeThread(lambda: None, "native-ended")
        ended.start()
        assert ended.join(5.0)
        answers: list[bool] = []
        other = threading.Thread(target=lambda: answers.append(ended.join(5.0)))  # noqa: B023  (joined below)
        other.start()
        other.join(5.0)
        assert answers == [True]


PROGRAM = """
{before}
from kalends.native import BriefLock, NativeThread, allocate_lock, get_ident
{after}
import _thread, gevent, gevent.monkey
main = get_ident()
seen = []
def target():
    seen.append(get_ident())
    lock = allocate_lock()
    seen.append(type(lock) is gevent.monkey.get_original("_thread", "LockType"))
thread = NativeThread(target, "native")
thread.start()
assert thread.join(5)
assert seen[0] != main and seen[1], seen
print("fine")
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_patched_host_gets_real_threads_and_locks(moment: str) -> None:
    patch = "import gevent.monkey; gevent.monkey.patch_all()"
    program = PROGRAM.format(**{"before": "", "after": "", moment: patch})
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("fine\n", "", 0)


def test_a_brief_lock_lets_one_thread_in_at_a_time() -> None:
    lock = BriefLock()
    inside: list[int] = []
    most = 0

    def pass_through(number: int) -> None:
        nonlocal most
        for _ in range(2000):
            with lock:
                inside.append(number)
                most = max(most, len(inside))
                inside.remove(number)

    threads = [NativeThread(lambda n=n: pass_through(n), f"brief-{n}") for n in range(4)]  # type: ignore[misc]  # the default is the loop's value
    for thread in threads:
        thread.start()
    assert all(thread.join(20.0) for thread in threads)
    assert (most, inside) == (1, [])


def test_whoever_finds_a_brief_lock_taken_gets_it_when_it_is_free() -> None:
    lock = BriefLock()
    said: list[str] = []
    arrived = threading.Event()

    def enter() -> None:
        arrived.set()
        with lock:
            said.append("second")

    thread = NativeThread(enter, "brief-second")
    with lock:
        thread.start()
        assert arrived.wait(5.0)
        said.append("first")
    assert thread.join(5.0)
    assert said == ["first", "second"]


def test_a_brief_lock_is_free_again_after_an_error() -> None:
    lock = BriefLock()
    with pytest.raises(ZeroDivisionError), lock:
        raise ZeroDivisionError
    thread = NativeThread(lock.__enter__, "brief-third")
    thread.start()
    assert thread.join(5.0)
