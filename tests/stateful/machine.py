"""Everything that can be done to a scheduler, in any order, beside what must come of it.

A rule of the machine does one thing to the real scheduler (in virtual time, on a real file) and to
the model; after each of them, what the calls answer is compared, and at the end the whole ledger.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, multiple, precondition, rule
from tests.stateful.beside import START, TAGS, BesideModel, same
from tests.stateful.expected import FATES, EventModel, Rule

from kalends import Event
from kalends.clock import US
from kalends.testing import ProcessKilled, StorageStep

__all__ = ["WholeApi"]

rules = st.builds(Rule, st.integers(0, 59), st.sampled_from([60, 90, 300]))
"""Instants on whole seconds, from before the start on."""
moments = st.builds(lambda ahead: Rule(ahead, None), st.integers(1, 500))
"""One instant, counted from now."""
jobs = st.sampled_from(sorted(FATES))
arguments = st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), max_size=2)
tags = st.sets(st.sampled_from(TAGS)).map(lambda some: tuple(sorted(some)))
kills = st.sampled_from([None] * 8 + [StorageStep.COMMIT, StorageStep.COMMITTED])
"""Where the process is killed in the transaction of a verb."""


class WholeApi(BesideModel):
    """The rules."""

    known = Bundle("known")
    """Every event that there is or was."""

    # -- life ------------------------------------------------------------------------------------

    @initialize(target=known, wanted=rules, other=rules | moments)
    def first_start(self, wanted: Rule, other: Rule) -> Any:
        self.scheduler.start()
        return multiple(
            self.create("ok", wanted, ("blue",), {}, None),
            self.create("boom", other, (), {"a": 1}, None),
        )

    @precondition(lambda self: not self.alive)
    @rule()
    def start(self) -> None:
        """A second later: what two processes write within a millisecond has no order."""
        self.now += 1
        self.scheduler.clock.advance(1)
        self.scheduler.start()
        for event in self.living:
            if any(to <= self.now for to in event.moved):
                event.shake()  # what was moved, and what is due, come at the same moment
            if event.unshake(self.now):
                self.adopt(event)
            else:
                event.catch_up(self.now, self.jobs.gone)

    def adopt(self, event: EventModel) -> None:
        """What a kill in its midst left of an event is read; it is judged at the end."""
        found = self.find(event)
        event.status, event.version, event.note = found.status.value, found.version, found.note
        event.until = None if found.paused_until is None else self.seconds(found.paused_until)
        if found.next_due is not None:
            event.told = self.seconds(found.next_due) - 1
            event.account = {at: fate for at, fate in event.account.items() if at <= event.told}
        event.journal = self.told_of(event)

    @precondition(lambda self: self.alive)
    @rule(seconds=st.integers(1, 400))
    def advance(self, seconds: int) -> None:
        self.now += seconds
        self.scheduler.advance(seconds)
        for event in self.living:
            event.live(self.now, self.jobs.gone)

    @precondition(lambda self: self.alive)
    @rule(how=st.sampled_from(["stop", "crash"]))
    def end(self, how: str) -> None:
        if how == "crash":
            self.scheduler.kill()
        else:
            assert self.scheduler.shutdown(10.0).clean

    @precondition(lambda self: self.alive and self.living)
    @rule(at=st.sampled_from(list(StorageStep)), passes=st.integers(0, 3))
    def crash_while_time_passes(self, at: StorageStep, passes: int) -> None:
        """At some step of what is due within the next minutes, if so much happens."""
        before = self.now
        self.killer.at, self.killer.passes = at, passes
        try:
            self.scheduler.advance(300)
        except ProcessKilled:
            self.killed_on_the_way()
        else:
            self.killer.at = None
            self.now = before + 300
            for event in self.living:
                event.live(self.now, self.jobs.gone)

    def killed_on_the_way(self) -> None:
        passed = (self.scheduler.now - START).total_seconds()
        moment = int(passed)
        for event in self.living:
            if passed == moment:  # else nothing was due
                event.live(moment - 1, self.jobs.gone)
                if moment in (event.due, event.until):
                    event.shake()
            else:
                event.live(moment, self.jobs.gone)
        self.now = moment
        if passed < moment + 0.5:
            self.scheduler.clock.advance(moment + 0.5 - passed)

    @precondition(lambda self: not self.alive)
    @rule(seconds=st.integers(1, 400))
    def nobody_runs(self, seconds: int) -> None:
        """Whoever asks meanwhile is told."""
        self.now += seconds
        self.scheduler.clock.advance(seconds)
        self.refused("NOT_INITIALIZED", self.scheduler.list_events)
        self.refused("NOT_INITIALIZED", self.scheduler.verify)

    @precondition(lambda self: not any(event.moved for event in self.events))
    @rule(gone=st.sampled_from([frozenset[str](), frozenset({"boom"}), frozenset({"ok"})]))
    def jobs_come_and_go(self, gone: frozenset[str]) -> None:
        self.jobs.gone = gone

    # -- verbs -----------------------------------------------------------------------------------

    @precondition(lambda self: self.alive)
    @rule(
        target=known, job=jobs, wanted=rules | moments, tags=tags, kwargs=arguments, kill=kills,
    )  # fmt: skip
    def create(
        self, job: str, wanted: Rule, tags: tuple[str, ...], kwargs: dict[str, Any], kill: Any
    ) -> Any:
        name = f"event {next(self.names)}"
        wanted = self.from_now(wanted)

        def verb() -> Event:
            return self.scheduler.schedule_event(
                job, self.trigger(wanted), name=name, tags=tags, kwargs=kwargs
            )

        if job in self.jobs.gone:
            self.refused("JOB_NOT_FOUND", verb)
            return multiple()
        done, answer = self.change(kill, verb)
        if not done:
            return multiple()
        made = EventModel(name, job, wanted, told=self.now, tags=tags, kwargs=kwargs)
        made.id = "" if answer is None else answer.id
        self.events.append(made)
        return made

    @precondition(lambda self: self.alive)
    @rule(event=known, wanted=rules, tags=tags, how=st.sampled_from(["error", "keep", "replace"]))
    def create_another_of_its_name(
        self, event: EventModel, wanted: Rule, tags: tuple[str, ...], how: str
    ) -> None:
        if event.status == "deleted" or event.job in self.jobs.gone:
            return

        def verb() -> Event:
            return self.scheduler.schedule_event(
                event.job, self.trigger(wanted), name=event.name, tags=tags, kwargs=event.kwargs,
                on_conflict=how,
            )  # fmt: skip

        if how == "error":
            self.refused("CONFLICT", verb)
            return
        assert verb().id == event.id
        if how == "replace" and (wanted != event.rule or tags != event.tags):
            if wanted != event.rule:
                event.reschedule(wanted, self.now)
            event.tags = tags
            event.changed("event_updated")

    @precondition(lambda self: self.alive)
    @rule(
        event=known, kwargs=arguments, wanted=st.none() | rules | moments, kill=kills,
        version=st.sampled_from(["any", "right", "stale"]),
    )  # fmt: skip
    def update(
        self,
        event: EventModel,
        kwargs: dict[str, Any],
        wanted: Rule | None,
        version: str,
        kill: Any,
    ) -> None:
        changes: dict[str, Any] = {"args": (), "kwargs": kwargs}
        if wanted is not None:
            wanted = self.from_now(wanted)
            changes["trigger"] = self.trigger(wanted)
        expected = {"any": None, "right": event.version, "stale": event.version + 7}[version]

        def verb() -> Event:
            return self.scheduler.update_event(event.id, version=expected, **changes)

        if event.status == "deleted":
            self.refused("EVENT_NOT_FOUND", verb)
        elif version == "stale":
            self.refused("VERSION_CONFLICT", verb)
        elif self.change(kill, verb)[0]:
            if wanted is not None and wanted != event.rule:
                event.reschedule(wanted, self.now)
            event.kwargs = kwargs
            event.changed("event_updated")

    @precondition(lambda self: self.alive)
    @rule(event=known, ahead=st.none() | st.just(0) | st.integers(1, 300), kill=kills)
    def pause(self, event: EventModel, ahead: int | None, kill: Any) -> None:
        """``ahead``: 0 stands for the very instant that is due next."""
        until = None if ahead is None else self.now + ahead
        if ahead == 0:
            until = max(event.due or 0, self.now + 1)
        note = f"for {ahead}"
        told = None if until is None else START.add(seconds=until)

        def verb() -> Event:
            return self.scheduler.pause_event(event.id, until=told, note=note)

        code = self.allowed(event, "active", "paused")
        if code is not None:
            self.refused(code, verb)
        elif self.change(kill, verb)[0]:
            event.pause(until, note)

    @precondition(lambda self: self.alive)
    @rule(event=known, kill=kills)
    def resume(self, event: EventModel, kill: Any) -> None:
        code = self.allowed(event, "paused")
        if code is not None:
            self.refused(code, lambda: self.scheduler.resume_event(event.id))
        elif self.change(kill, lambda: self.scheduler.resume_event(event.id))[0]:
            event.back(self.now)

    @precondition(lambda self: self.alive)
    @rule(event=known, kill=kills)
    def release(self, event: EventModel, kill: Any) -> None:
        code = self.allowed(event, "quarantined")
        if code is not None:
            self.refused(code, lambda: self.scheduler.release_event(event.id))
        elif self.change(kill, lambda: self.scheduler.release_event(event.id))[0]:
            event.back(self.now)

    @precondition(lambda self: self.alive)
    @rule(event=known, count=st.integers(1, 3), kill=kills)
    def leave_out(self, event: EventModel, count: int, kill: Any) -> None:
        def verb() -> Any:
            return self.scheduler.skip_next(event.id, count)

        code = self.allowed(event, "active")
        if code is not None:
            self.refused(code, verb)
            return
        done, answer = self.change(kill, verb)
        if done:
            left = event.leave_out(count)
            assert answer is None or [self.seconds(at) for at in answer.instants] == left

    @precondition(lambda self: self.alive)
    @rule(event=known, ahead=st.integers(1, 200), kill=kills)
    def move(self, event: EventModel, ahead: int, kill: Any) -> None:
        """To a quarter of a second after a whole one, where nothing else is due."""
        to = self.now + ahead

        def verb() -> Any:
            return self.scheduler.move_next(event.id, START.add(microseconds=to * US + US // 4))

        code = self.allowed(event, "active")
        if code is not None:
            self.refused(code, verb)
        elif event.rule.period is not None and not self.jobs.gone:
            done, answer = self.change(kill, verb)
            if done:
                moved = event.move(to)
                assert answer is None or self.seconds(answer.due) == moved

    @precondition(lambda self: self.alive)
    @rule(event=known, back=st.integers(1, 400))
    def run_the_past(self, event: EventModel, back: int) -> None:
        start = self.now - back

        def verb() -> Any:
            ends = START.add(seconds=self.now + 1)
            return self.scheduler.backfill(
                event.id, START.add(seconds=start), min(ends, self.scheduler.now)
            )

        code = self.allowed(event, "active", "paused", "completed")
        if code is not None:
            self.refused(code, verb)
        elif event.plain and event.job not in self.jobs.gone:
            wanted = event.run_again(start, self.now)
            same(verb().planned, len(wanted))

    @precondition(lambda self: self.alive)
    @rule(event=known)
    def stop_what_has_ended(self, event: EventModel) -> None:
        self.find(event)
        found = self.scheduler.list_executions(event_id=event.id, fate="succeeded", limit=1).items
        for each in found:
            self.refused("EXECUTION_ENDED", partial(self.scheduler.cancel_execution, each.id))
        self.refused("EXECUTION_NOT_FOUND", lambda: self.scheduler.cancel_execution(event.id))

    @precondition(lambda self: self.alive)
    @rule(event=known, other=known, tags=tags)
    def rename(self, event: EventModel, other: EventModel, tags: tuple[str, ...]) -> None:
        def verb(name: str) -> Event:
            return self.scheduler.update_event(event.id, name=name, tags=tags)

        if event.status == "deleted":
            self.refused("EVENT_NOT_FOUND", lambda: verb("another name"))
        elif other.status != "deleted" and other is not event:
            self.refused("CONFLICT", lambda: verb(other.name))
        else:
            event.name = f"event {next(self.names)}"
            assert verb(event.name).tags == tags
            event.tags = tags
            event.changed("event_updated")

    @precondition(lambda self: self.alive)
    @rule(event=known, kill=kills)
    def run_now(self, event: EventModel, kill: Any) -> None:
        """A second later: two that are asked for at one moment come a microsecond apart."""
        self.advance(1)

        def verb() -> Any:
            return self.scheduler.trigger_now(event.id)

        code = self.allowed(event, "active", "paused", "completed")
        if code is not None:
            self.refused(code, verb)
            return
        if event.job in self.jobs.gone:
            return  # it would be quarantined by it
        if self.change(kill, verb)[0]:
            event.manual += 1
            event.journal.append("event_triggered")
            if kill is not None:
                event.shake()

    @precondition(lambda self: self.alive)
    @rule(event=known, kill=kills)
    def delete(self, event: EventModel, kill: Any) -> None:
        def verb() -> Any:
            return self.scheduler.delete_event(event.id)

        if event.status == "deleted":
            self.refused("EVENT_NOT_FOUND", verb)
        elif self.change(kill, verb)[0]:
            event.delete(self.now)

    # -- the end ---------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            self.jobs.gone = frozenset()
            if not self.alive:
                self.start()
            self.advance(600)
            self.events_are_as_they_should_be()
            for event in self.events:
                self.ledger_is_as_it_should_be(event)
            assert self.scheduler.verify(integrity=True).ok
        finally:
            self.scheduler.kill()
            self.folder.cleanup()
