"""The check that Jepsen made for Chronos, for a ledger and a log that the jobs wrote themselves.

Each target (a due instant of a rule) is matched to its own run, and no run is left over. The log
is the jobs' word, the ledger the scheduler's: neither is believed without the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from tests.listing import every_one

from kalends import Delivery, Event, Execution, Fate, Reason, Scheduler

__all__ = ["Log", "check"]


class Log:
    """What jobs and clients noted: a line each, whole or not there."""

    def __init__(self, path: Path) -> None:
        text = path.read_text()
        assert text.endswith("\n")
        self.begun: Counter[tuple[str, int]] = Counter()
        """By execution and attempt."""
        self.ended: Counter[tuple[str, int]] = Counter()
        self.began_at: dict[str, list[float]] = defaultdict(list)
        self.acknowledged: dict[str, list[list[str]]] = defaultdict(list)
        """By what was done."""
        for line in text.splitlines():
            word, *rest = line.split()
            if word in ("begin", "end"):
                execution, _, attempt, at = rest
                kept = self.begun if word == "begin" else self.ended
                kept[execution, int(attempt)] += 1
                if word == "begin":
                    self.began_at[execution].append(float(at))
            else:
                self.acknowledged[word].append(rest)
        assert max(self.begun.values(), default=1) == 1, "an attempt begins once"
        assert set(self.ended) <= set(self.begun)

    def runs(self, execution: str) -> list[int]:
        """The attempts that began."""
        return sorted(number for name, number in self.begun if name == execution)


def check(scheduler: Scheduler, log: Log) -> int:
    """Hold the two against each other; how many targets there were."""
    targets = 0
    seen: set[str] = set()
    for event in every_one(scheduler.list_events, sort="name"):
        found = every_one(scheduler.list_executions, event_id=event.id)
        targets += _match_targets(scheduler, event, found)
        for execution in found:
            seen.add(execution.id)
            _match_runs(event, execution, log)
    assert {name for name, _ in log.begun} <= seen, "every run belongs to a target"
    return targets


def _match_targets(scheduler: Scheduler, event: Event, found: list[Execution]) -> int:
    told = [item.due for item in found if not item.manual]
    for gap in every_one(scheduler.list_gaps, event_id=event.id):
        assert gap.reason in (Reason.PAUSED, Reason.COALESCED), gap
        told += event.trigger.between(gap.first, gap.last.add(microseconds=1))
    assert event.next_due is not None
    expected = list(event.trigger.between(event.accounted_from, event.next_due))
    assert sorted(told) == expected, f"{event.name}: each target has one run of its own"
    return len(expected)


def _match_runs(event: Event, execution: Execution, log: Log) -> None:
    runs = log.runs(execution.id)
    ended = [number for number in runs if (execution.id, number) in log.ended]
    numbers = [attempt.number for attempt in execution.attempts]
    assert numbers == list(range(1, len(numbers) + 1))
    assert set(runs) <= set(numbers), f"{execution}: a run that the ledger does not know"
    assert all(at >= execution.due.timestamp() for at in log.began_at[execution.id])
    if execution.fate is Fate.SUCCEEDED:
        last = execution.attempts[-1]
        assert last.number in ended, f"{execution}: said to have succeeded, and has not ended"
        assert all(item.outcome is Fate.LOST for item in execution.attempts[:-1])
    elif execution.fate is Fate.SKIPPED:
        assert execution.reason is Reason.PAUSED or execution.manual
        assert runs == []
    else:
        assert event.policies.delivery is Delivery.AT_MOST_ONCE, execution
        assert execution.fate is Fate.LOST
    if event.policies.delivery is Delivery.AT_MOST_ONCE:
        assert len(numbers) <= 1
