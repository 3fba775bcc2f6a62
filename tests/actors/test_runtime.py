"""Actors: refusals, crashes, deferred answers, refs across restarts, and Pykka left alone."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pykka
import pytest
from gevent.event import Event

from kalends.actors.hub import Hub
from kalends.actors.mailbox import Envelope
from kalends.actors.runtime import Actor, Cell, Exit, ExitKind, handles
from kalends.errors import (
    ActorCrashed,
    AskTimeout,
    ForkedError,
    MailboxFull,
    NotInitialized,
    ValidationFailed,
    VersionConflict,
)
from kalends.futures import Future, failed, resolved


class Call:
    """The handler returns what ``function(actor)`` does."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function


class Tick:
    """A fact of a timer."""


class Unknown:
    """Nobody handles this."""


class Probe(Actor):
    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0

    @handles(Call)
    def call(self, message: Call) -> Any:
        return message.function(self)

    @handles(Tick)
    def tick(self, _message: Tick) -> None:
        self.ticks += 1


class Life:
    """A cell whose incarnations follow each other at once, up to ``lives``."""

    def __init__(self, hub: Hub, lives: int = 1) -> None:
        self.hub, self.lives = hub, lives
        self.exits: list[Exit] = []
        self.starts: list[BaseException | None] = []
        self.ended: Future[Exit] = Future(5.0)
        self.cell: Cell[Probe] = Cell("probe", hub, Probe, Probe, mailbox_limit=100)
        hub.run(self.start, 5.0)

    def start(self) -> None:
        self.cell.start(self.starts.append, self.on_exit)

    def on_exit(self, ended: Exit) -> None:
        self.exits.append(ended)
        if len(self.exits) < self.lives:
            self.start()
        else:
            self.ended.resolve(ended)

    def ask(self, function: Callable[[Any], Any], timeout: float = 5.0) -> Any:
        return self.cell.ref.ask(Call(function), timeout=timeout)

    def settle(self) -> None:
        self.hub.run(gevent.idle, 5.0)


@pytest.fixture
def life(hub: Hub) -> Iterator[Life]:
    made = Life(hub)
    yield made
    hub.run(made.cell.kill, 5.0)


def fail(error: BaseException) -> Callable[[Any], Any]:
    def function(_actor: Any) -> None:
        raise error

    return function


def test_an_ask_is_answered_with_what_the_handler_returns(life: Life) -> None:
    assert life.ask(lambda actor: type(actor).__name__) == "Probe"


def test_a_refusal_reaches_the_asker_and_the_actor_lives_on(life: Life) -> None:
    with pytest.raises(VersionConflict) as caught:
        life.ask(fail(VersionConflict("no", expected=1)))
    assert caught.value.details == {"expected": 1}
    with pytest.raises(ValidationFailed, match="Unknown"):
        life.cell.ref.ask(Unknown(), timeout=5)
    life.cell.ref.tell(Unknown())
    assert life.ask(lambda _: 1) == 1
    assert life.exits == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("bug"), ExitKind.CRASHED),
        (SystemExit(3), ExitKind.CRASHED),
        (KeyboardInterrupt(), ExitKind.CRASHED),
        (gevent.GreenletExit(), ExitKind.KILLED),
        (gevent.Timeout(), ExitKind.CRASHED),
    ],
)
@pytest.mark.parametrize("asked", [True, False])
def test_whatever_a_handler_raises_ends_at_its_actor_and_never_at_the_hosts(
    hub: Hub, error: BaseException, kind: ExitKind, asked: bool
) -> None:
    class HostActor(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            return message

    host = HostActor.start()
    life, other = Life(hub), Life(hub)
    if asked:
        with pytest.raises(ActorCrashed) as caught:
            life.ask(fail(error))
        assert caught.value.__cause__ is error
        assert caught.value.details["cause"] == type(error).__name__
        assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message
    else:
        life.cell.ref.tell(Call(fail(error)))
    assert life.ended.get().kind is kind
    assert life.exits[0].reason is error
    assert host.ask("alive", timeout=5) == "alive"
    assert other.ask(lambda _: "alive") == "alive"
    host.stop(timeout=5)
    hub.run(other.cell.kill, 5.0)


def test_kalends_actors_are_not_in_pykkas_registry(life: Life) -> None:
    assert life.ask(lambda actor: actor.actor_ref) is life.cell.ref
    assert pykka.ActorRegistry.get_all() == []
    with pytest.raises(TypeError):
        Probe.start()
    with pytest.raises(TypeError):
        life.cell.ref.stop()
    with pytest.raises(TypeError):
        life.cell.ref.proxy()


def test_a_ref_and_what_waits_in_the_mailbox_outlive_an_incarnation(hub: Hub) -> None:
    life = Life(hub, lives=3)
    ref = life.cell.ref
    crashes = [ref.ask(Call(fail(ValueError(str(n)))), block=False) for n in range(2)]
    answer = ref.ask(Call(lambda actor: actor.cell.incarnation), block=False)
    assert answer.get(timeout=5) == 3
    for n, crash in enumerate(crashes):
        with pytest.raises(ActorCrashed, match=f"ValueError: {n}"):
            crash.get(timeout=5)
    assert ref.is_alive()
    hub.run(life.cell.kill, 5.0)


def test_a_future_as_answer_lets_the_actor_go_on_and_answers_when_it_is_done(life: Life) -> None:
    later: Future[int] = Future()
    first = life.cell.ref.ask(Call(lambda _: later), block=False)
    assert life.ask(lambda _: "next") == "next"
    assert not first.done
    later.set(41)
    assert first.get(timeout=5) == 41
    assert life.ask(lambda _: resolved(42)) == 42


def test_a_deferred_answer_may_refuse_or_crash(life: Life) -> None:
    with pytest.raises(NotInitialized):
        life.ask(lambda _: failed(NotInitialized("later")))
    assert life.exits == []
    with pytest.raises(ActorCrashed):
        life.ask(lambda _: failed(ValueError("late bug")))
    assert life.ended.get().kind is ExitKind.CRASHED
    assert isinstance(life.exits[0].reason, ValueError)


def test_a_late_bug_of_an_earlier_incarnation_does_not_crash_the_next(hub: Hub) -> None:
    life = Life(hub, lives=2)
    later: Future[int] = Future()
    waiting = life.cell.ref.ask(Call(lambda _: later), block=False)
    life.cell.ref.tell(Call(fail(ValueError("first"))))
    assert life.ask(lambda actor: actor.cell.incarnation) == 2
    later.set_exception(ValueError("late"))
    with pytest.raises(ActorCrashed):
        waiting.get(timeout=5)
    assert life.ask(lambda actor: actor.cell.incarnation) == 2
    hub.run(life.cell.kill, 5.0)


def test_a_stop_meant_for_one_incarnation_does_not_stop_the_next(hub: Hub) -> None:
    life = Life(hub, lives=2)

    def ordered_to_stop_it_crashes(actor: Any) -> None:
        actor.cell.stop()
        raise ValueError("first")

    life.cell.ref.tell(Call(ordered_to_stop_it_crashes))
    assert life.ask(lambda actor: actor.cell.incarnation) == 2
    assert [ended.kind for ended in life.exits] == [ExitKind.CRASHED]
    hub.run(life.cell.kill, 5.0)


def test_a_timer_dies_with_its_incarnation_even_when_it_has_just_fired(hub: Hub) -> None:
    life = Life(hub, lives=2)

    def arm_and_crash(actor: Any) -> None:
        actor.after(0.0, Tick())
        gevent.sleep(0.01)
        raise ValueError("with a tick in the mailbox")

    life.cell.ref.tell(Call(arm_and_crash))
    assert life.ask(lambda actor: (actor.cell.incarnation, actor.ticks)) == (2, 0)
    hub.run(life.cell.kill, 5.0)


def test_a_timer_tells_its_message(life: Life) -> None:
    ticked: Future[int] = Future(5.0)

    def poll(actor: Any) -> None:
        if actor.ticks:
            ticked.resolve(actor.ticks)
        else:
            actor.after(0.001, Call(poll))

    life.ask(lambda actor: actor.after(0.0, Tick()) and None)
    life.cell.ref.tell(Call(poll))
    assert ticked.get() == 1


def test_exits_say_how_an_incarnation_ended(hub: Hub) -> None:
    normal, shut, killed = Life(hub), Life(hub), Life(hub)
    normal.ask(lambda actor: actor.stop())
    hub.run(shut.cell.stop, 5.0)
    hub.run(killed.cell.kill, 5.0)
    kinds = [life.ended.get().kind for life in (normal, shut, killed)]
    assert kinds == [ExitKind.NORMAL, ExitKind.SHUTDOWN, ExitKind.KILLED]
    assert not normal.cell.running


def test_a_cell_killed_before_its_greenlet_ran_still_says_so(hub: Hub) -> None:
    cell: Cell[Probe] = Cell("unborn", hub, Probe, Probe)
    starts: list[BaseException | None] = []

    def start_and_kill() -> None:
        cell.start(starts.append, lambda _: None)
        cell.kill()
        gevent.idle()

    hub.run(start_and_kill, 5.0)
    assert isinstance(starts[0], gevent.GreenletExit)
    assert not cell.running


def test_a_closed_cell_answers_what_waits_what_runs_and_what_is_deferred(life: Life) -> None:
    error = NotInitialized("closed")
    started: Future[None] = Future(5.0)

    def block(_actor: Any) -> None:
        started.resolve(None)
        Event().wait()

    deferred = life.cell.ref.ask(Call(lambda _: Future()), block=False)
    running = life.cell.ref.ask(Call(block), block=False)
    waiting = life.cell.ref.ask(Call(lambda _: 1), block=False)
    started.get()
    life.hub.run(lambda: life.cell.close(error), 5.0)
    assert [future.error for future in (deferred, running, waiting)] == [error] * 3
    assert not life.cell.ref.is_alive()
    with pytest.raises(NotInitialized):
        life.cell.ref.tell(Tick())


def test_a_full_mailbox_refuses_a_tell_at_once_and_an_ask_in_its_future(life: Life) -> None:
    life.cell.ref.tell(Call(lambda _: Event().wait()))
    life.settle()
    for _ in range(100):
        life.cell.ref.tell(Tick())
    with pytest.raises(MailboxFull):
        life.cell.ref.tell(Tick())
    refused = life.cell.ref.ask(Tick(), block=False)
    assert isinstance(refused.error, MailboxFull)


def test_an_ask_that_is_not_answered_in_time_says_so(life: Life) -> None:
    life.cell.ref.tell(Call(lambda _: Event().wait()))
    with pytest.raises(AskTimeout):
        life.ask(lambda _: 1, timeout=0.02)


def test_eight_threads_that_ask_while_the_actor_crashes_get_each_its_own_answer(hub: Hub) -> None:
    life = Life(hub, lives=1_000)
    wrong: list[Any] = []

    def ask_many(seed: int) -> None:
        for n in range(60):
            value = seed * 1_000 + n
            try:
                if n % 7 == 3:
                    life.ask(fail(ValueError("on purpose")))
                elif life.ask(lambda _, value=value: value) != value:  # type: ignore[misc]  # a default binds the value
                    wrong.append(value)
            except ActorCrashed:
                if n % 7 != 3:
                    wrong.append(value)

    threads = [threading.Thread(target=ask_many, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)
    assert len(life.exits) == 8 * 9
    hub.run(life.cell.kill, 5.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_a_forked_child_every_use_of_a_ref_says_forked(life: Life) -> None:
    pending = life.cell.ref.ask(Call(lambda _: Future()), block=False)
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        seen = []
        for use in (
            lambda: life.cell.ref.tell(Tick()),
            lambda: life.cell.ref.ask(Tick()),
            lambda: pending.get(timeout=1),
        ):
            try:
                use()
            except ForkedError:
                seen.append("forked")
            except BaseException as error:
                seen.append(repr(error))
        os.write(sender, " ".join(seen).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receiver, 1_000) == b"forked forked forked"
    os.close(receiver)
    os.close(sender)
    assert life.ask(lambda _: "parent") == "parent"


def test_pykkas_hooks_are_where_the_runtime_fills_them() -> None:
    hooks = ["_create_actor_inbox", "_create_future", "_start_actor_loop"]
    for name in hooks:
        assert name in vars(pykka.Actor), f"Pykka moved {name}"
        assert name in vars(Actor)
    actor = Probe()
    assert hasattr(actor, "actor_inbox")
    assert isinstance(actor._create_future(), Future)
    assert isinstance(actor._create_future(), pykka.Future)
    with pytest.raises(TypeError):
        actor.actor_inbox.put(Envelope("x"))  # type: ignore[arg-type]  # ours, not Pykka's
    assert "pykka.gevent" not in sys.modules
