"""What has to hold: of the ledger by its own account, and of the ledger against the jobs' log.

``verify`` is the scheduler's own check. The others believe neither the ledger nor the log without
the other: each run is an attempt of an execution, begun once, by the node that the ledger says, not
before its instant, no more often than its event allows; each end that counts is the end that this
very run had.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from tests.faults.simulation.jobs import Log, Run
from tests.faults.simulation.user import DONE, REFUSED, User
from tests.listing import every_one

from kalends import Event, Execution, Fate, Scheduler
from kalends.clock import to_us
from kalends.policies import Delivery
from kalends.verification import ViolationKind

__all__ = ["check_calls", "check_ledger", "check_runs", "check_targets"]

_PASSING = {ViolationKind.HOLDER_GONE}
"""What is so for a while where a node has died, until another one notices."""
_MANY = 100
"""Gaps that tell of more instants are believed to tell of as many as they say."""
_ONCE = {
    "create", "pause", "resume", "tag", "policies", "trigger", "delete", "skip_next", "move_next",
    "trigger_now", "backfill",
}  # fmt: skip
"""Verbs that write one line of the journal each."""


def check_ledger(reader: Scheduler, *, healed: bool) -> None:
    """``verify`` finds nothing; while faults last, nothing but what passes."""
    found = reader.verify()
    wrong = [item for item in found.violations if healed or item.kind not in _PASSING]
    assert not wrong, [item.words for item in wrong]


def check_calls(reader: Scheduler, user: User) -> None:
    """What was acknowledged is there, what was refused is not, and nothing is there twice."""
    journal = every_one(reader.list_journal)
    heard = Counter(entry.author for entry in journal)
    for told in user.told:
        count = heard[told.token]
        if told.outcome is REFUSED:
            assert count == 0, f"{told} was refused, and is in the journal"
        elif told.outcome is DONE and told.verb in _ONCE:
            assert count == 1, f"{told} was acknowledged, and is in the journal {count} times"
        assert count <= 1, f"{told} is in the journal {count} times"
        if told.outcome is DONE and told.verb == "trigger_now":
            assert reader.get_execution(told.answer.id).manual, told
    events = {event.id: event for event in events_of(reader, user)}
    for event_id, sure in user.sure.items():
        event = events[event_id]
        for wanted, found in (
            (sure.status, event.status), (sure.tags, event.tags), (sure.trigger, event.trigger),
        ):  # fmt: skip
            assert wanted is None or wanted == found, f"{event.name}: {found}, not {wanted}"


def events_of(reader: Scheduler, user: User) -> list[Event]:
    """All there are: those that live, and those that the user has deleted."""
    living = every_one(reader.list_events, sort="name")
    known = {event.id for event in living}
    gone = [event_id for event_id in user.sure if event_id not in known]
    return living + [reader.get_event(event_id, deleted=True) for event_id in gone]


def check_targets(reader: Scheduler, user: User) -> int:
    """Each due instant of a rule that was never changed has one fate; how many there are."""
    targets = 0
    for event in events_of(reader, user):
        if event.id in user.edited:
            continue  # `verify` knows the rules that it had
        found = every_one(reader.list_executions, event_id=event.id)
        told = [to_us(item.due) for item in found if not item.manual]
        told = [due for due in told if due >= to_us(event.accounted_from)]
        many = 0
        for gap in every_one(reader.list_gaps, event_id=event.id):
            if gap.count > _MANY:
                many += gap.count
                continue
            told += map(to_us, event.trigger.between(gap.first, gap.last.add(microseconds=1)))
        twice = [due for due, count in Counter(told).items() if count > 1]
        assert not twice, f"{event.name}: {twice} have more than one fate"
        if event.next_due is None or event.status == "deleted":
            continue
        expected = event.trigger.count(event.accounted_from, event.next_due)
        counted = many + sum(due < to_us(event.next_due) for due in told)
        assert counted == expected, f"{event.name}: {expected} were due, {counted} have a fate"
        targets += len(told)
    return targets


def check_runs(reader: Scheduler, user: User, log: Log) -> None:
    """The jobs' log against the ledger."""
    begun = Counter((run.execution, run.attempt) for run in log.runs)
    twice = [key for key, count in begun.items() if count > 1]
    assert not twice, f"attempts begun more than once: {twice}"
    runs: dict[str, list[Run]] = defaultdict(list)
    for run in log.runs:
        runs[run.execution].append(run)
    started = every_one(reader.list_journal, kind="node_started")
    pids = {str(entry.node): entry.details["pid"] for entry in started}
    events = {event.id: event for event in events_of(reader, user)}
    known: set[str] = set()
    for execution in every_one(reader.list_executions):
        known.add(execution.id)
        _check_execution(events[execution.event_id], execution, runs[execution.id], pids)
    unknown = [run for run in log.runs if run.execution not in known]
    assert not unknown, f"runs of no execution: {unknown}"


def _check_execution(
    event: Event, execution: Execution, runs: Iterable[Run], pids: Mapping[str, int]
) -> None:
    by_number = {run.attempt: run for run in runs}
    numbers = [attempt.number for attempt in execution.attempts]
    assert numbers == list(range(1, len(numbers) + 1)), execution
    for run in by_number.values():
        _check_run(execution, run)
    for attempt in execution.attempts:
        run_of = by_number.get(attempt.number)
        if attempt.outcome in (Fate.SUCCEEDED, Fate.FAILED):
            assert run_of is not None, f"attempt {attempt.number} of {execution} never ran"
            assert run_of.pid == pids[str(attempt.node)], f"{run_of} counts as {attempt}"
            good = attempt.outcome is Fate.SUCCEEDED
            assert run_of.ended is not None, f"{attempt} ended, and {run_of} has not"
            assert good == (run_of.ended == "ok"), f"{attempt} ended otherwise: {run_of}"
        elif attempt.outcome is Fate.TIMED_OUT:
            assert run_of is not None, f"attempt {attempt.number} of {execution} never ran"
    _check_bounds(event, execution, by_number)


def _check_run(execution: Execution, run: Run) -> None:
    begins = execution.due if execution.moved_to is None else execution.moved_to
    if not execution.manual:
        assert run.reached >= to_us(begins), f"{run} began early: {begins}"
    assert run.attempt <= len(execution.attempts), f"{run} is unknown to {execution}"


def _check_bounds(event: Event, execution: Execution, runs: dict[int, Run]) -> None:
    """No more attempts than its event allows; only where its policies were always the same."""
    outcomes = Counter(attempt.outcome for attempt in execution.attempts)
    assert outcomes[Fate.SUCCEEDED] <= 1, execution
    if event.version > 1 or execution.version > 1:
        return
    policies = event.policies
    if policies.delivery is Delivery.AT_MOST_ONCE:
        assert len(runs) <= 1, f"{execution} ran {len(runs)} times"
    assert outcomes[Fate.LOST] <= policies.max_attempts, execution
    allowed = 1 + max(policies.retries, policies.max_attempts - 1)
    assert outcomes[Fate.FAILED] + outcomes[Fate.TIMED_OUT] <= allowed, execution
