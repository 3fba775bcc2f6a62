"""A flood: threads that send to every actor without waiting, and know what they are owed."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from kalends import KalendsError
from kalends.messages import (
    CountEvents,
    CountExecutions,
    GetEvent,
    GetExecution,
    RunCleanup,
    SlotsFreed,
    TriggerNow,
)
from kalends.queries import EventQuery, ExecutionQuery

__all__ = ["LIMIT", "Flood", "Pourer"]

LIMIT = 1000
"""Messages that a mailbox takes."""
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"


class Pourer(threading.Thread):
    """Sends one actor the same again and again without waiting, asked or told, and counts."""

    def __init__(self, ref: Any, messages: int, tell: Any, ask: Any, right: set[Any]) -> None:
        super().__init__()
        self.ref = ref
        self.messages = messages
        self.message_told, self.message_asked = tell, ask
        self.right = right
        """The answer, or the codes of refusals that may come instead."""
        self.taken = self.refused = 0
        self.closed = False
        self.stop = threading.Event()
        self.wrong: list[object] = []
        self._answers: deque[Any] = deque()
        self.start()

    def run(self) -> None:
        for number in range(self.messages):
            if self.stop.is_set() or self.wrong or self.closed:
                return  # whoever is told that it is over does not go on for ever
            try:
                self._send(number)
            except BaseException as error:
                self.wrong.append(error)
            while len(self._answers) > LIMIT:
                self._check(self._answers.popleft())

    def _send(self, number: int) -> None:
        try:
            if number % 2:
                self.ref.tell(self.message_told)
            else:
                future = self.ref.ask(self.message_asked, block=False)
                if getattr(future.error, "code", None) in ("MAILBOX_FULL", "NOT_INITIALIZED"):
                    raise future.error  # another one is an answer that has come already
                self._answers.append(future)
        except KalendsError as refusal:
            if (refusal.code, refusal.details.get("limit")) == ("MAILBOX_FULL", LIMIT):
                self.refused += 1
            elif refusal.code not in self.right:
                self.wrong.append(refusal)
            self.closed = refusal.code == "NOT_INITIALIZED"
        else:
            self.taken += 1

    def _check(self, future: Any) -> None:
        try:
            answer = future.get(timeout=60.0)
        except KalendsError as refusal:
            answer = refusal.code
        if answer not in self.right:
            self.wrong.append(answer)

    def finish(self) -> None:
        """Wait for its end, and for every answer that it is owed."""
        self.join(60.0)
        assert not self.is_alive()
        while self._answers:
            self._check(self._answers.popleft())
        assert self.wrong == []


class Flood:
    """Two threads for each actor, and what is there at most at any time."""

    def __init__(self, storm: Any, event: Any, messages: int, *also: str) -> None:
        """``also``: codes of refusals that are right as well."""
        far = EventQuery(name="far")
        kinds: dict[str, tuple[Any, Any, Any]] = {
            "event_manager": (GetEvent(event.id), CountEvents(far), 1),
            "execution_tracker": (
                GetExecution(NOBODY),
                CountExecutions(ExecutionQuery(event_id=event.id)),
                0,
            ),
            "loop": (SlotsFreed(), TriggerNow(NOBODY), "EVENT_NOT_FOUND"),
            "housekeeper": (RunCleanup("none"), RunCleanup("none"), "VALIDATION_FAILED"),
        }
        self.cells = {name: storm.cell(name) for name in kinds}
        self.before = {name: cell.mailbox.received for name, cell in self.cells.items()}
        self.pourers = {
            name: [
                Pourer(self.cells[name].ref, messages // 8, tell, ask, {right, *also})
                for _ in range(2)
            ]
            for name, (tell, ask, right) in kinds.items()
        }
        self.most = 0

    @property
    def all(self) -> list[Pourer]:
        return [pourer for pourers in self.pourers.values() for pourer in pourers]

    def watch(self) -> None:
        """Until it is over, see how much waits."""
        while any(pourer.is_alive() for pourer in self.all):
            for cell in self.cells.values():
                waiting = len(cell.mailbox) + len(cell.mailbox.unanswered)
                self.most = max(self.most, waiting)
            self.all[0].join(0.01)

    def end(self) -> None:
        """Stop it, and see that all who were taken have been answered."""
        for pourer in self.all:
            pourer.stop.set()
        for pourer in self.all:
            pourer.finish()
