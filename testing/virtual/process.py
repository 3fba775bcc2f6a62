"""One process in virtual time: its greenlets, its timers, and its end.

Promises: its code runs only while its world pumps it, on the world's thread, until nothing is left
to do; ``kill`` stops it wherever it is, between two lines of a transaction if need be, and nothing
of it runs again: what was not committed is undone, nobody is told, nothing is drained; ``freeze``
stops it in the same way, and it goes on there when it is thawed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import gevent
import gevent.hub
from gevent._hub_local import get_hub_if_exists, set_hub
from greenlet import getcurrent

from kalends.clock import US
from kalends.logs import get_log
from kalends.testing.virtual.loop import VirtualLoop

if TYPE_CHECKING:
    from kalends.testing.virtual.world import World

__all__ = ["ProcessKilled", "VirtualProcess"]

_log = get_log()


class ProcessKilled(Exception):
    """A virtual process was killed from inside. Not a refusal: no code under test may handle it."""

    def __init__(self, process: VirtualProcess) -> None:
        super().__init__(f"virtual process {process.pid} was killed")
        self.process = process


class VirtualProcess:
    """A place for the parts of one system. ``World.fork`` makes them; ``pid`` is unique there."""

    place = "virtual"

    def __init__(self, world: World, pid: int) -> None:
        self.world = world
        self.pid = pid
        self.loop = VirtualLoop(world.clock.monotonic)
        self.finished = False
        """Set by whoever lived here: the process ends when it has nothing left to do."""
        self.alive = True
        self.wakes: list[Callable[[], int | None]] = []
        """Microseconds of monotonic time at which a part here wants to be woken."""
        self.on_end: list[Callable[[], object]] = []
        """Called at the end, orderly or not, when nothing runs any more."""
        self.trouble: BaseException | None = None
        """What the test's own code raised in here: whoever moves time is to hear of it."""
        self.frozen = False
        self._greenlets: set[Any] = set()
        self._frozen_in: Any = None
        """What was running when the process froze, and goes on when it has thawed."""
        self._killed = False
        self._hub: Any = _make_hub(self.loop)
        self._hub.handle_error = self._report

    def is_gone(self, pid: int) -> bool:
        """As ``kalends.storage.nodes.Process``: whether no such process is alive."""
        return pid not in self.world.alive

    # -- running -------------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function(*args)`` here, when the world next pumps. It must not wait."""
        self.loop.run_callback(function, *args)

    def spawn(self, function: Callable[[], None]) -> gevent.Greenlet[..., Any]:
        """Start a greenlet, from inside."""

        def body() -> None:
            try:
                function()
            finally:
                self._greenlets.discard(getcurrent())

        made: gevent.Greenlet[..., Any] = gevent.spawn(body)
        self._greenlets.add(made)
        return made

    @property
    def inside(self) -> bool:
        """True for code that runs here."""
        return self.loop.home is not None

    def run(self) -> bool:
        """Run until nothing is left to do now; False where there was nothing.

        Raises ``ProcessKilled`` where it was killed on the way, and what is in ``trouble``.
        """
        if self.frozen or (self._frozen_in is None and not self.loop.has_work()):
            return False
        running, self._frozen_in = self._frozen_in or self._hub, None
        self._switch_in(running.switch)
        if self._killed:
            self._end()
            raise ProcessKilled(self)
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        return True

    def _switch_in(self, switch: Callable[[], Any]) -> None:
        before: Any = get_hub_if_exists()
        set_hub(self._hub)
        self.loop.home = getcurrent()
        try:
            switch()
        finally:
            self.loop.home = None
            set_hub(before)

    def next_wake(self) -> int | None:
        """When something is to happen here, in microseconds of monotonic time."""
        if self.frozen:
            return None
        timer = self.loop.next_timer()
        first = None if timer is None else round(timer * US)
        for ask in self.wakes:
            wake = ask()
            if wake is not None and (first is None or wake < first):
                first = wake
        return first

    def _report(self, context: object, kind: type, error: BaseException, _tb: object) -> None:
        if not issubclass(kind, gevent.GreenletExit):
            hub = f"virtual-{self.pid}"
            _log.error("hub_callback_failed", hub=hub, context=repr(context), exc_info=error)

    # -- standing still ------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stand still, as by SIGSTOP. From inside, that is between two lines of whatever runs."""
        self.frozen = True
        if self.inside:
            self._frozen_in = getcurrent()
            self.loop.go_home()

    def thaw(self) -> None:
        """Go on where it stood still, at the next turn."""
        self.frozen = False

    # -- ending --------------------------------------------------------------------------------

    def kill(self) -> None:
        """End at once. From inside, this does not return: the world's caller gets
        ``ProcessKilled``.
        """
        if not self.alive:
            return
        if self.inside:
            self._die()
        self._end()

    def _die(self) -> NoReturn:
        self._killed = True
        self.loop.close()
        self.loop.go_home()
        # Thrown in when the process is cleared away, so that nothing after the kill ever runs.
        raise gevent.GreenletExit

    def end(self) -> None:
        """End in an orderly way: everything here has stopped."""
        if self.alive:
            self._end()

    def _end(self) -> None:
        self.alive = False
        self.world.forget(self)
        self.loop.close()
        for undo in reversed(self.on_end):
            undo()
        # Their frames hold everything: unwind them now rather than whenever they are collected.
        for left in list(self._greenlets):
            self._throw(left)
        self.loop.over = True
        self._throw(self._hub)

    def _throw(self, left: Any) -> None:
        if left.dead or not left:  # ended, or never begun
            return

        def throw() -> None:
            left.parent = getcurrent()
            left.throw(gevent.GreenletExit)

        self._switch_in(throw)


def _make_hub(loop: Any) -> Any:
    """A gevent hub on a loop that is as much of gevent's as is used here."""
    return gevent.hub.Hub(loop=loop)
