"""Random arrivals and durations, on real storage, against a model of a page: what becomes of every
instant under each form of overlap, with named limits and priorities between events.

Time goes from one arrival or end to the next; at each, what has ended is recorded and one claim
transaction follows, or several where it says that there is more. The model knows neither.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kalends.clock import US, from_us
from kalends.model import Fate
from kalends.policies import Overlap
from kalends.storage.models import ExecutionRow
from kalends.triggers import Trigger, every
from kalends.work import Claim, Outcome

if TYPE_CHECKING:
    from tests.storage.conftest import Ledger

START = 1_800_000_000
SPAN = 40
"""Seconds that a run takes."""


class Job:
    """How the run for one instant goes, in seconds; the same for the model and for the ledger."""

    def __init__(self, seed: int, event: int, due: int) -> None:
        chance = random.Random(f"{seed}/{event}/{due}")
        self.takes = chance.choice([0.5, 1, 1, 2, 3, 5, 9])
        self.fate = chance.choice(["succeeded", "succeeded", "failed"])
        self.heeds = chance.choice([None, 0, 1, 2])
        """How long after it was told to stop it raises; None: it runs on to its end."""


class Plan(msgspec.Struct):
    """One event of a run."""

    periods: tuple[int, ...]
    overlap: str
    priority: int = 0
    limited: bool = False
    buffer_limit: int = 2

    def rule(self) -> Trigger:
        first, *rest = (every(seconds=p, anchor=from_us(START * US)) for p in self.periods)
        rule: Trigger = first
        for other in rest:
            rule = rule | other
        return rule.between(from_us(START * US), from_us((START + SPAN) * US + 1))

    def arrivals(self) -> list[int]:
        return sorted({s for p in self.periods for s in range(p, SPAN + 1, p)})


# -- the model -----------------------------------------------------------------------------------


class Run(msgspec.Struct):
    """An execution that runs in the model."""

    event: int
    due: int
    ends: float
    fate: str
    told: bool = False


class Model:
    """The whole of it, one instant after the other."""

    def __init__(self, plans: list[Plan], seed: int, size: int | None) -> None:
        self.plans, self.seed, self.size = plans, seed, size
        self.fates: list[dict[int, str]] = [{} for _ in plans]
        self.waiting: list[list[int]] = [[] for _ in plans]
        self.due: list[list[int]] = [[] for _ in plans]
        self.running: list[Run] = []

    def play(self) -> list[dict[int, str]]:
        arrivals = [plan.arrivals() for plan in self.plans]
        times: set[float] = {float(second) for each in arrivals for second in each}
        while times:
            now = min(times)
            times.discard(now)
            for run in [run for run in self.running if run.ends == now]:
                self.running.remove(run)
                self.fates[run.event][run.due] = run.fate
            for event, each in enumerate(arrivals):
                if each and each[0] == now:
                    self.due[event].append(each.pop(0))
            while self.step(now):
                pass
            times |= {run.ends for run in self.running}
        return self.fates

    def mine(self, event: int) -> list[Run]:
        return [run for run in self.running if run.event == event]

    def room(self, event: int) -> bool:
        if self.size is None or not self.plans[event].limited:
            return True
        return sum(self.plans[run.event].limited for run in self.running) < self.size

    def step(self, now: float) -> bool:
        """Whatever comes first of what can be decided now; False where there is nothing."""
        todo = []
        for event, plan in enumerate(self.plans):
            free = plan.overlap == "allow_all" or not self.mine(event)
            newer = plan.overlap == "cancel_other" and self.due[event]
            if self.waiting[event] and free and not newer and self.room(event):
                todo.append((-plan.priority, self.waiting[event][0], event, self.begin_waiting))
            if self.due[event] and (not free or self.room(event)):
                todo.append((-plan.priority, self.due[event][0], event, self.decide))
        if not todo:
            return False
        *_, event, act = min(todo, key=lambda entry: entry[:2])
        act(event, now)
        return True

    def begin_waiting(self, event: int, now: float) -> None:
        self.begin(event, self.waiting[event].pop(0), now)

    def begin(self, event: int, due: int, now: float) -> None:
        job = Job(self.seed, event, due)
        self.running.append(Run(event, due, now + job.takes, job.fate))

    def decide(self, event: int, now: float) -> None:
        *early, due = self.due[event]
        self.due[event] = []
        plan, fates, waiting = self.plans[event], self.fates[event], self.waiting[event]
        if plan.overlap == "skip" and self.mine(event):
            return fates.update(dict.fromkeys([*early, due], "overlap"))
        fates.update(dict.fromkeys(early, "coalesced"))
        if plan.overlap == "cancel_other":
            fates.update(dict.fromkeys(waiting, "overlap"))
            waiting.clear()
        if not self.mine(event) or plan.overlap == "allow_all":
            return self.begin(event, due, now)
        if plan.overlap == "terminate_other":
            for run in self.mine(event):
                self.running.remove(run)
                fates[run.due] = "cancelled"
            return self.begin(event, due, now)
        if plan.overlap == "cancel_other":
            for run in self.mine(event):
                self.tell(run, now)
            waiting.append(due)
        elif len(waiting) < (1 if plan.overlap == "buffer_one" else plan.buffer_limit):
            waiting.append(due)
        else:
            refused = "overlap" if plan.overlap == "buffer_one" else "queue_full"
            fates.update(dict.fromkeys([*early, due], refused))
        return None

    def tell(self, run: Run, now: float) -> None:
        heeds = Job(self.seed, run.event, run.due).heeds
        if not run.told and heeds is not None and now + heeds < run.ends:
            run.ends, run.fate = now + heeds, "cancelled"
        elif run.fate == "failed":
            run.fate = "cancelled"
        run.told = True


# -- the ledger ----------------------------------------------------------------------------------


class Driven:
    """The same on real storage: jobs are entries in a list."""

    def __init__(self, ledger: Ledger, plans: list[Plan], seed: int, size: int | None) -> None:
        self.ledger, self.plans, self.seed, self.size = ledger, plans, seed, size
        for node in (ledger.here, ledger.there):
            node.limit(None if size is None else {"few": size})
        self.ids = [
            ledger.add(
                plan.rule(),
                overlap=plan.overlap,
                priority=plan.priority,
                buffer_limit=plan.buffer_limit,
                concurrency_limit="few" if plan.limited and size is not None else None,
                catch_up_window=1e6,
            )
            for plan in plans
        ]
        self.ends: dict[str, tuple[float, Claim, float, str]] = {}
        self.told: set[str] = set()

    def second(self) -> float:
        return self.ledger.now / US - START

    def play(self) -> list[dict[int, str]]:
        arrivals = {float(s) for plan in self.plans for s in plan.arrivals()}
        while times := arrivals | {end for end, *_ in self.ends.values()}:
            now = min(times)
            arrivals.discard(now)
            self.ledger.clock.advance(now - self.second())
            self.record(now)
            while self.claim(now):
                pass
        return [
            self.fates(event_id, plan) for event_id, plan in zip(self.ids, self.plans, strict=True)
        ]

    def record(self, now: float) -> None:
        over = [entry for entry in self.ends.values() if entry[0] == now]
        outcomes = [
            Outcome(
                execution_id=claim.id,
                event_id=claim.event_id,
                attempt=claim.attempt,
                fate=Fate(fate),
                started_us=round((START + began) * US),
                ended_us=self.ledger.now,
            )
            for _, claim, began, fate in over
        ]
        for _, claim, *_ in over:
            del self.ends[claim.id]
        self.ledger.run(self.ledger.here.outcomes.record, outcomes, now=self.ledger.now)

    def claim(self, now: float) -> bool:
        done = self.ledger.claim(limit=3)
        for off in done.terminated:
            *_, claim, began, _ = self.ends.pop(off.execution_id)
            late = msgspec.structs.replace(
                off.late_outcome(), started_us=round((START + began) * US)
            )
            self.ledger.run(self.ledger.here.outcomes.record, [late], now=self.ledger.now)
            assert claim.attempt == off.attempt
        for execution_id in done.told:
            self.tell(execution_id, now)
        for claim in done.claims:
            assert claim.attempt == 1
            job = self.job(claim)
            self.ends[claim.id] = (now + job.takes, claim, now, job.fate)
        self.check()
        return done.more

    def job(self, claim: Claim) -> Job:
        return Job(self.seed, self.ids.index(claim.event_id), claim.due // US - START)

    def tell(self, execution_id: str, now: float) -> None:
        ends, claim, began, fate = self.ends[execution_id]
        heeds = self.job(claim).heeds
        if execution_id not in self.told and heeds is not None and now + heeds < ends:
            ends, fate = now + heeds, "cancelled"
        elif fate == "failed":
            fate = "cancelled"
        self.told.add(execution_id)
        self.ends[execution_id] = (ends, claim, began, fate)

    def check(self) -> None:
        """Nothing serial runs beside itself, and no limit is exceeded."""
        claims = [claim for _, claim, *_ in self.ends.values()]
        serial = [claim.event_id for claim in claims if claim.serial]
        assert len(serial) == len(set(serial))
        limited = [claim for claim in claims if self.plans[self.ids.index(claim.event_id)].limited]
        assert self.size is None or len(limited) <= self.size

    def fates(self, event_id: str, plan: Plan) -> dict[int, str]:
        told: dict[int, str] = {}
        for due, fate, reason in self.ledger.fates(event_id):
            told[due] = reason if fate == "skipped" and reason is not None else fate
        instants = plan.arrivals()
        for first, last, count, _, reason in self.ledger.gaps(event_id):
            inside = [second for second in instants if first <= second <= last]
            assert len(inside) == count
            told |= dict.fromkeys(inside, str(reason))
        return told


def compare(ledger: Ledger, plans: list[Plan], seed: int, size: int | None = None) -> None:
    driven = Driven(ledger, plans, seed, size)
    assert driven.play() == Model(plans, seed, size).play()
    assert ledger.check_accounts() > 0
    left = ExecutionRow.select(ExecutionRow.id).where(
        ExecutionRow.ended_at.is_null() | (ExecutionRow.still_running == 1)
    )
    assert ledger.rows(left) == []


a_rule = st.lists(st.integers(1, 9), min_size=1, max_size=2).map(tuple)


@pytest.mark.parametrize("form", [form.value for form in Overlap])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(periods=a_rule, buffer_limit=st.integers(1, 4), seed=st.integers(0, 1000))
def test_under_each_form_every_instant_has_the_fate_of_the_model(
    make_ledger: Callable[[], Any],
    form: str,
    periods: tuple[int, ...],
    buffer_limit: int,
    seed: int,
) -> None:
    compare(make_ledger(), [Plan(periods, form, buffer_limit=buffer_limit)], seed)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plans=st.lists(
        st.builds(
            Plan,
            periods=a_rule,
            overlap=st.sampled_from([form.value for form in Overlap]),
            priority=st.integers(-1, 1),
            limited=st.sampled_from([True, True, False]),
        ),
        min_size=2,
        max_size=5,
    ),
    size=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
# More waits than a batch holds: what is due must not be decided on before all of that was seen.
@example(
    plans=[
        Plan(periods=(3,), overlap="buffer_one", limited=False),
        Plan(periods=(1,), overlap="skip", limited=True),
        Plan(periods=(1,), overlap="buffer_one", limited=True),
        Plan(periods=(1,), overlap="buffer_all", limited=True),
        Plan(periods=(2,), overlap="buffer_all", limited=True),
    ],
    size=3,
    seed=821,
)
def test_under_a_limit_those_of_higher_priority_and_those_that_wait_longest_go_first(
    make_ledger: Callable[[], Any], plans: list[Plan], size: int, seed: int
) -> None:
    # Where two have the same claim to a place, either may have it: so no two have.
    for place, plan in enumerate(plans):
        plan.priority = plan.priority * 10 + place
    compare(make_ledger(), plans, seed, size)
