"""Actors for Pykka that are greenlets on a scheduler's own hub.

Pykka ships a threading runtime only; this module gives it a second one through Pykka's three hooks
(inbox, future, actor loop). What it promises beyond Pykka:

* A ``Ref`` and its mailbox outlive every incarnation of the actor: they stay valid across restarts,
  and messages that wait are handled by the next incarnation. The message that crashed an actor is
  not tried again.
* A handler that raises a ``KalendsError`` refuses: the asker gets that error and the actor lives
  on. Anything else, ``SystemExit`` and ``GreenletExit`` included, is a crash: the asker gets
  ``ActorCrashed`` with the cause, the incarnation ends, and whoever watches it (the supervisor)
  decides. Other actors, here or in the host, never notice.
* A handler may return a ``Future``: the actor goes on with the next message and the asker is
  answered when the future is. A future that fails with a bug crashes the actor that returned it,
  just as if it had raised.
* Pykka's process-wide ``ActorRegistry`` is never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

import gevent
import pykka

from kalends.actors.exits import Crash, Exit, ExitKind, Stop, describe, kind_of
from kalends.actors.hub import Hub, Timer
from kalends.actors.mailbox import Envelope, Mailbox
from kalends.errors import ActorCrashed, ForkedError, KalendsError, ValidationFailed
from kalends.futures import PROCESS, Future, current_pid
from kalends.logs import get_log

__all__ = ["Actor", "Cell", "Exit", "ExitKind", "Ref", "handles"]

A = TypeVar("A", bound="Actor")
_log = get_log()


def handles(message_type: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark an actor's method as the handler of one message type."""

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        setattr(method, "_handles", message_type)  # noqa: B010  (functions take attributes)
        return method

    return mark


class Actor(pykka.Actor):
    """A greenlet on a hub that handles one message at a time.

    Subclasses mark handlers with ``@handles(MessageType)`` and may override ``on_start`` and
    ``on_stop``; all of them run on the hub's thread and must not block it. ``self.cell`` is there
    from ``on_start`` on.
    """

    _handlers: ClassVar[dict[type, str]] = {}
    cell: Cell[Any]
    incarnation: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {
            method._handles: name
            for name, method in vars(cls).items()
            if hasattr(method, "_handles")
        }
        cls._handlers = {**cls._handlers, **own}

    @classmethod
    def start(cls, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Not how these actors start: Pykka's ``start`` would register them process-wide."""
        raise TypeError(f"{cls.__name__} lives on a hub: start it through Cell(...).start()")

    # Pykka's hooks. The inbox is a placeholder until the cell binds its mailbox.
    @staticmethod
    def _create_actor_inbox() -> Any:
        return _Unbound()

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _start_actor_loop(self) -> None:
        self.cell.run(self)

    @property
    def actor_ref(self) -> Any:
        """The ref that outlives this incarnation."""
        return self.cell.ref

    def stop(self) -> None:
        """Stop after the message at hand, as an exit of kind ``normal``."""
        self.cell.order_stop(ExitKind.NORMAL)

    def tell_self(self, message: Any) -> None:
        """Queue a fact for this actor itself, before ordinary messages; from any thread."""
        self.cell.tell_urgent(message)

    def fail(self, error: BaseException) -> None:
        """Crash this incarnation, not the next, with a bug that came to light elsewhere."""
        self.cell.tell_urgent(Crash(error), only_for=self.incarnation)

    def after(self, seconds: float, message: Any) -> Timer:
        """Queue ``message`` for this actor in ``seconds``. The timer dies with the incarnation."""
        return self.cell.after(seconds, message)

    def on_receive(self, message: Any) -> Any:
        """Dispatch by the message's type.

        Raises ``ValidationFailed`` for a message nobody handles.
        """
        name = self._handlers.get(type(message))
        if name is None:
            raise ValidationFailed(
                f"{type(self).__name__} has no handler for {type(message).__name__}",
                path="message",
            )
        return getattr(self, name)(message)


class _Unbound:
    """The inbox of an actor that no cell has bound."""

    def put(self, _envelope: Any, /) -> NoReturn:
        raise TypeError("this actor was never started through a cell")

    get = put

    def empty(self) -> bool:
        return True


class Ref(pykka.ActorRef[A]):
    """A handle on an actor, valid across its restarts, for any thread of the same process."""

    def __init__(self, cell: Cell[A], actor_class: type[A]) -> None:
        # Pykka's __init__ wants a living actor; a ref here names the cell that makes them.
        self.actor_class = actor_class
        self.actor_urn = f"kalends:{cell.name}"
        self.actor_inbox = cell.mailbox  # type: ignore[assignment]  # takes our envelopes only
        self._mailbox = cell.mailbox
        self._cell = cell
        self._pid = cell.hub.pid

    def is_alive(self) -> bool:
        """True until the supervision tree has given this actor up or stopped it for good."""
        return self._mailbox.closed is None

    def tell(self, message: Any) -> None:
        """Queue ``message`` without an answer.

        Raises ``MailboxFull``, ``ForkedError`` or why it is closed.
        """
        self._check_process()
        self._mailbox.put(Envelope(message))

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Queue ``message``; return the answer, or its future with ``block=False``.

        With ``block=False`` every failure, ``MailboxFull`` included, is in the future.
        """
        cell = self._cell
        future = cell.new_future(cell.ask_timeout)
        try:
            if PROCESS.pid != self._pid:
                self._check_process()
            self._mailbox.put(Envelope(message, future))
        except KalendsError as refusal:
            future.resolve(None, refusal)
        return future.get(timeout=timeout) if block else future

    def _check_process(self) -> None:
        if current_pid() != self._pid:
            raise ForkedError(
                "this process was forked from the one that started the scheduler; open its own",
                parent=self._pid,
                child=current_pid(),
            )

    def stop(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refused: the supervisor alone starts and stops actors."""
        raise TypeError("actors are stopped by their supervisor: Scheduler.shutdown()")

    def proxy(self) -> NoReturn:
        """Refused: Pykka's proxy holds on to one incarnation. Use the typed proxies of
        ``kalends.proxies``.
        """
        raise TypeError("use the typed proxies, such as scheduler.events")


class Cell(Generic[A]):
    """What stays of an actor across its incarnations: name, mailbox, ref, and how to make the next
    one.

    ``start``, ``stop`` and ``kill`` belong to the hub's thread. ``on_started(error)`` is called
    once per start, with None after ``on_start`` returned; ``on_exit(exit)`` once per incarnation
    that had started.
    """

    def __init__(
        self,
        name: str,
        hub: Hub,
        actor_class: type[A],
        make: Callable[[], A],
        *,
        mailbox_limit: int = 10_000,
        ask_timeout: float = 30.0,
    ) -> None:
        self.name = name
        self.hub = hub
        self.ask_timeout = ask_timeout
        self.new_future = hub.future
        self.mailbox = Mailbox(name, mailbox_limit, hub.loop, hub.ident, hub.clock.monotonic)
        self.ref: Ref[A] = Ref(self, actor_class)
        self.incarnation = 0
        self._make = make
        self._greenlet: gevent.Greenlet[..., Any] | None = None
        self._entered = False
        self._killed_unborn = False
        self._envelope: Envelope | None = None
        self._on_started: Callable[[BaseException | None], None] = lambda _: None
        self._on_exit: Callable[[Exit], None] = lambda _: None

    @property
    def running(self) -> bool:
        """True while an incarnation exists, starting and stopping ones included."""
        return self._greenlet is not None

    def tell_urgent(self, message: Any, *, only_for: int | None = None) -> None:
        """Queue a fact before ordinary messages; a closed mailbox swallows it, for nobody is left
        to care.
        """
        try:
            self.mailbox.put_urgent(Envelope(message, only_for=only_for))
        except KalendsError:
            return

    # -- life cycle ----------------------------------------------------------------------------

    def start(
        self,
        on_started: Callable[[BaseException | None], None],
        on_exit: Callable[[Exit], None],
    ) -> None:
        """Make the next incarnation and run it in a greenlet of its own."""
        if self._greenlet is not None:
            raise RuntimeError(f"{self.name} is running")
        if self.mailbox.closed is not None:
            raise RuntimeError(f"{self.name} was closed for good")
        self._on_started, self._on_exit = on_started, on_exit
        self.incarnation += 1
        self._entered = self._killed_unborn = False
        self._greenlet = self.hub.spawn(self._live)

    def stop(self) -> None:
        """Ask the incarnation to stop after the message at hand, ahead of everything that waits."""
        self.order_stop(ExitKind.SHUTDOWN)

    def order_stop(self, kind: ExitKind) -> None:
        """Queue the end of this incarnation, with the kind its exit is to have."""
        if self._greenlet is not None:
            self.mailbox.put_order(Envelope(Stop(kind), only_for=self.incarnation))

    def kill(self) -> None:
        """End the incarnation at its next wait, without ``on_stop``."""
        if self._greenlet is None:
            return
        if self._entered:
            self._greenlet.kill(block=False)
        else:
            # gevent would drop a greenlet that has not begun without a word to anybody.
            self._killed_unborn = True

    def close(self, error: KalendsError) -> None:
        """No incarnation will come any more: refuse and answer everything with ``error``, deferred
        answers too.
        """
        self.mailbox.close(error)
        if self._envelope is not None and self._envelope.reply_to is not None:
            self._envelope.reply_to.resolve(None, error)
        for future in list(self.mailbox.unanswered):
            future.resolve(None, error)

    def _live(self) -> None:
        """One incarnation, from the constructor to its exit.

        Nothing it raises leaves this function.
        """
        started = False
        self._entered = True
        try:
            if self._killed_unborn:
                raise gevent.GreenletExit
            actor = self._make()
            actor.cell, actor.incarnation = self, self.incarnation
            actor.actor_inbox = self.mailbox  # type: ignore[assignment]  # takes our envelopes only
            actor.on_start()
            started = True
            self._on_started(None)
            actor._start_actor_loop()
            ended = Exit(ExitKind.NORMAL)
        except _Stopped as stopped:
            ended = Exit(stopped.kind)
        except gevent.GreenletExit as killed:
            ended = Exit(ExitKind.KILLED, killed)
        except BaseException as crash:  # noqa: BLE001  (contained here, by design)
            ended = Exit(ExitKind.CRASHED, crash)
        self._greenlet = None
        if started:
            self._on_exit(ended)
        else:
            self._on_started(ended.reason or RuntimeError(f"{self.name} stopped while starting"))

    # -- the actor loop ------------------------------------------------------------------------

    def run(self, actor: A) -> None:
        """Handle messages until something ends the incarnation, by raising."""
        while True:
            envelope = self.mailbox.get()
            message = envelope.message
            if envelope.only_for is not None and envelope.only_for != self.incarnation:
                continue
            if type(message) is Stop:
                actor.on_stop()
                raise _Stopped(message.kind)
            if type(message) is Crash:
                raise message.error
            self._envelope = envelope
            try:
                self._handle(actor, envelope)
            finally:
                self._envelope = None

    def _handle(self, actor: A, envelope: Envelope) -> None:
        reply_to = envelope.reply_to
        try:
            answer = actor.on_receive(envelope.message)
        except KalendsError as refusal:
            if reply_to is not None:
                reply_to.resolve(None, refusal)
            else:
                _log.warning("tell_refused", actor=self.name, code=refusal.code, error=str(refusal))
        except BaseException as crash:
            if reply_to is not None:
                reply_to.resolve(None, self._crashed(crash))
            raise
        else:
            if isinstance(answer, Future):
                self._answer_later(answer, reply_to)
            elif reply_to is not None:
                reply_to.resolve(answer)

    def _answer_later(self, answer: Future[Any], reply_to: Future[Any] | None) -> None:
        incarnation = self.incarnation
        owed: Future[Any] = Future() if reply_to is None else reply_to
        self.mailbox.unanswered.add(owed)

        def settle(done: Future[Any]) -> None:
            error = done.error
            surprise = error is not None and not isinstance(error, KalendsError)
            self.mailbox.unanswered.discard(owed)
            if surprise:
                owed.resolve(None, self._crashed(error))
            else:
                owed.resolve(done.value, error)
            if surprise:
                assert error is not None
                self.tell_urgent(Crash(error), only_for=incarnation)

        answer.add_done_callback(settle)

    def _crashed(self, cause: BaseException | None) -> ActorCrashed:
        error = ActorCrashed(
            f"{self.name} crashed handling this message: {describe(cause)}",
            actor=self.name,
            cause=kind_of(cause),
        )
        error.__cause__ = cause
        return error

    def after(self, seconds: float, message: Any) -> Timer:
        """A timer that tells ``message`` unless the incarnation has changed by then."""
        incarnation = self.incarnation

        def fire() -> None:
            if incarnation == self.incarnation and self._greenlet is not None:
                self.tell_urgent(message, only_for=incarnation)

        return self.hub.after(seconds, fire)


class _Stopped(BaseException):
    """Carries a polite stop out of the actor loop. Private to it."""

    def __init__(self, kind: ExitKind) -> None:
        super().__init__(kind)
        self.kind = kind
