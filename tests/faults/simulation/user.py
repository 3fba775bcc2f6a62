"""The user of a simulation: changes events now and then, and remembers what it was told.

Each call has a token of its own, which goes to the journal as its author. What was acknowledged has
to be there, once; what was refused must not be; where nobody knows, either may be.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.simulation.nodes import Node
from tests.faults.simulation.story import START, Story, draw_policies, draw_rule

from kalends import Event, KalendsError
from kalends.testing import ProcessKilled

__all__ = ["DONE", "REFUSED", "UNKNOWN", "Told", "User"]

DONE, REFUSED, UNKNOWN = "done", "refused", "unknown"
_REFUSALS = {
    "TRANSITION_REFUSED", "VALIDATION_FAILED", "EVENT_NOT_FOUND", "CONFLICT", "EXECUTION_ENDED",
    "EXECUTION_NOT_FOUND", "MAILBOX_FULL",
}  # fmt: skip
"""What is refused for its own sake: nothing has happened."""


@dataclass
class Told:
    """What was asked, and what came back."""

    token: str
    verb: str
    event_id: str | None
    outcome: str
    answer: Any = None


@dataclass
class Sure:
    """What is known of an event for certain: what was acknowledged, and not touched since."""

    status: str | None = None
    tags: tuple[str, ...] | None = None
    trigger: Any = None


@dataclass
class User:
    """Asks any node that is up. ``note`` is told what came of it."""

    story: Story
    nodes: list[Node]
    note: Callable[[str], None]
    told: list[Told] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """The ids of those whose creation was acknowledged."""
    sure: dict[str, Sure] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    """Events whose rule somebody wanted to change."""

    def __post_init__(self) -> None:
        self._rng = random.Random(f"user/{self.story.seed}")

    def act(self, verb: str) -> None:
        """Do something to some event, where there is one, and a node to ask."""
        up = [node for node in self.nodes if node.up]
        if not up or (verb != "create" and not self.events):
            return
        node = self._rng.choice(up)
        event_id = None if verb == "create" else self._rng.choice(self.events)
        self.ask(node, verb, event_id)

    def ask(self, node: Node, verb: str, event_id: str | None) -> Told:
        """Call a verb of a node; what came back."""
        token = f"call-{len(self.told) + 1}"
        told = Told(token, verb, event_id, UNKNOWN)
        self.told.append(told)
        sure = Sure() if event_id is None else self.sure.setdefault(event_id, Sure())
        call = _VERBS[verb](self, node, event_id, token, sure)
        try:
            told.answer = node.ask(call)
            told.outcome = DONE
        except ProcessKilled:
            told.answer = "killed"
        except KalendsError as error:
            told.answer = error.code
            known = error.code == "STORAGE_UNAVAILABLE" and "outcome" not in error.details
            if known or error.code in _REFUSALS:
                told.outcome = REFUSED
        self.note(f"{token} {verb} at {node.name}: {told.outcome} {_shown(told.answer)}")
        self._learn(told, sure)
        return told

    def _learn(self, told: Told, sure: Sure) -> None:
        if told.verb == "create" and told.outcome is DONE:
            self.events.append(told.answer.id)
            self.sure[told.answer.id] = sure
        if told.outcome is DONE and isinstance(told.answer, Event):
            if told.verb in ("tag", "policies", "trigger"):
                sure.tags = (told.token,)
            if told.verb in ("create", "trigger"):
                sure.trigger = told.answer.trigger
        if told.outcome is DONE and told.verb in ("pause", "delete"):
            sure.status = "paused" if told.verb == "pause" else "deleted"

    # -- verbs ---------------------------------------------------------------------------------

    def create(self, node: Node, _: str | None, token: str, _sure: Sure) -> Callable[[], Any]:
        rule, policies = draw_rule(self._rng), draw_policies(self._rng)
        return lambda: node.scheduler.schedule_event(
            "work", rule, name=token, author=token, **policies
        )

    def pause(self, node: Node, event_id: str, token: str, sure: Sure) -> Callable[[], Any]:
        if sure.status != "deleted":
            sure.status = None
        return lambda: node.scheduler.pause_event(event_id, author=token)

    def resume(self, node: Node, event_id: str, token: str, sure: Sure) -> Callable[[], Any]:
        if sure.status != "deleted":
            sure.status = None
        return lambda: node.scheduler.resume_event(event_id, author=token)

    def release(self, node: Node, event_id: str, token: str, sure: Sure) -> Callable[[], Any]:
        return lambda: node.scheduler.release_event(event_id, author=token)

    def delete(self, node: Node, event_id: str, token: str, sure: Sure) -> Callable[[], Any]:
        sure.status = sure.tags = sure.trigger = None
        return lambda: node.scheduler.delete_event(event_id, author=token)

    def tag(self, node: Node, event_id: str, token: str, sure: Sure) -> Callable[[], Any]:
        return self._update(node, event_id, token, sure, {})

    def policies(self, node: Node, event_id: str, token: str, sure: Sure) -> Callable[[], Any]:
        return self._update(node, event_id, token, sure, draw_policies(self._rng))

    def trigger(self, node: Node, event_id: str, token: str, sure: Sure) -> Callable[[], Any]:
        self.edited.add(event_id)
        sure.trigger = None
        return self._update(node, event_id, token, sure, {"trigger": draw_rule(self._rng)})

    def _update(
        self, node: Node, event_id: str, token: str, sure: Sure, changes: dict[str, Any]
    ) -> Callable[[], Any]:
        sure.tags = None
        changes["tags"] = [token]
        return lambda: node.scheduler.update_event(event_id, author=token, **changes)

    def trigger_now(self, node: Node, event_id: str, token: str, _: Sure) -> Callable[[], Any]:
        overlap = self._rng.choice((None, None, "skip", "buffer_all", "terminate_other"))
        return lambda: node.scheduler.trigger_now(event_id, overlap=overlap, author=token)

    def skip_next(self, node: Node, event_id: str, token: str, _: Sure) -> Callable[[], Any]:
        count = self._rng.choice((1, 2))
        return lambda: node.scheduler.skip_next(event_id, count, author=token)

    def move_next(self, node: Node, event_id: str, token: str, _: Sure) -> Callable[[], Any]:
        to = node.scheduler.now.add(seconds=self._rng.choice((2, 5, 20)))
        return lambda: node.scheduler.move_next(event_id, to, author=token)

    def backfill(self, node: Node, event_id: str, token: str, _: Sure) -> Callable[[], Any]:
        start = START.subtract(seconds=self._rng.choice((10, 60)))
        end = START.add(seconds=self._rng.choice((-5, 10, 60)))
        return lambda: node.scheduler.backfill(event_id, start, end, limit=4, author=token)

    def cancel(self, node: Node, event_id: str, token: str, _: Sure) -> Callable[[], Any]:
        def call() -> Any:
            found = node.scheduler.list_executions(event_id=event_id, limit=20).items
            for execution in found:
                if execution.ended_at is None:
                    return node.scheduler.cancel_execution(execution.id, author=token)
            return None

        return call


def _shown(answer: Any) -> str:
    return answer if isinstance(answer, str) else type(answer).__name__


_VERBS: dict[str, Callable[..., Callable[[], Any]]] = {
    "create": User.create, "pause": User.pause, "resume": User.resume, "release": User.release,
    "delete": User.delete, "tag": User.tag, "policies": User.policies,
    "trigger": User.trigger, "trigger_now": User.trigger_now, "skip_next": User.skip_next,
    "move_next": User.move_next, "backfill": User.backfill, "cancel": User.cancel,
}  # fmt: skip
