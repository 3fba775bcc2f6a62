"""Trigger arithmetic: how many next and previous instants a second, and counting a year of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from harness.plan import Column, Figure, Task

from kalends import cron

__all__ = ["FIGURE", "croniter_rate", "cronsim_rate", "crontrigger_rate", "ours"]

_TEXT = """
Ten cron expressions in three time zones (the median of the zones): steps from one instant to the
next, in a chain that begins in November 2023. `next_us` and its kin work on integer microseconds;
`next` gives a `pendulum.DateTime` and is what the peers' own types are to be held against.
*Count* is how many instants there are in one year, for which the peers have nothing but to walk
them. The steps of rare rules are longer: the chain of 29 February spans 400 years at most.
"""
_EXPRESSIONS = (
    "* * * * *", "*/5 * * * *", "0 * * * *", "0 9 * * 1-5", "30 2 * * *", "15,45 8-18 * * *",
    "0 0 1 * *", "0 12 * * 0", "0 0 13 * 5", "0 0 29 2 *",
)  # fmt: skip
_ZONES = ("UTC", "America/New_York", "Australia/Lord_Howe")
_START = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
_US = int(_START.timestamp()) * 1_000_000
_YEAR = 366 * 86_400 * 1_000_000


def ours(*, expression: str, zone: str, steps: int) -> dict[str, float]:
    """Kalends: integer steps, steps of the public kind, counting."""
    rule = cron(expression, tz=zone)
    chain = 100 if "29 2" in expression else 1000
    return {
        "next_us": _rate(rule.next_us, _US, steps, chain),
        "previous_us": _rate(rule.previous_us, _US, steps, chain),
        "next": _rate(rule.next, _START, steps // 4, chain),
        "count_us": _rate(lambda a: rule.count_us(a, a + _YEAR) and a + 1, _US, steps // 20, 50),
    }


def cronsim_rate(*, expression: str, zone: str, steps: int) -> dict[str, float]:
    """cronsim: its iterator."""
    import cronsim

    def chain() -> Any:
        return cronsim.CronSim(expression, _START.astimezone(ZoneInfo(zone)))

    return {"cronsim": _iterated(chain, next, expression, steps)}


def croniter_rate(*, expression: str, zone: str, steps: int) -> dict[str, float]:
    """croniter: ``get_next``, as timestamps, which is its fastest."""
    import croniter

    def chain() -> Any:
        return croniter.croniter(expression, _START.astimezone(ZoneInfo(zone)))

    return {"croniter": _iterated(chain, lambda walk: walk.get_next(float), expression, steps)}


def crontrigger_rate(*, expression: str, zone: str, steps: int) -> dict[str, float]:
    """APScheduler 3: ``CronTrigger.get_next_fire_time``."""
    from apscheduler.triggers.cron import CronTrigger

    rule = CronTrigger.from_crontab(expression, timezone=ZoneInfo(zone))
    step = timedelta(microseconds=1)
    start = _START.astimezone(ZoneInfo(zone))
    chain = 40 if "29 2" in expression else 1000
    rate = _rate(lambda at: rule.get_next_fire_time(None, at + step), start, steps, chain)
    return {"apscheduler3": rate}


def _rate(step: Callable[[Any], Any], start: Any, steps: int, chain: int) -> float:
    """Steps a second; a chain begins anew after ``chain`` of them."""
    done, began = 0, time.perf_counter()
    while done < steps:
        at = start
        for _ in range(chain):
            at = step(at)
        done += chain
    return done / (time.perf_counter() - began)


def _iterated(
    make: Callable[[], Any], step: Callable[[Any], Any], expression: str, steps: int
) -> float:
    # 400 years of 29 February and more are beyond what they look ahead.
    chain = 10 if "29 2" in expression else 1000
    done, took = 0, 0.0
    while done < steps:
        walk = make()
        began = time.perf_counter()
        for _ in range(chain):
            step(walk)
        took += time.perf_counter() - began
        done += chain
    return done / took


def _tasks(quick: bool) -> list[Task]:
    scale = 50 if quick else 1
    contenders = (
        ("ours", "kalends", 60_000), ("cronsim_rate", "cronsim", 2000),
        ("croniter_rate", "croniter", 2000), ("crontrigger_rate", "apscheduler3", 2000),
    )  # fmt: skip
    # Each zone is a round of its own: the median is that of the zones.
    return [
        Task(
            row=f"`{expression}`",
            code=f"figures.triggers:{code}",
            peer=peer,
            arguments={"expression": expression, "zone": zone, "steps": max(10, steps // scale)},
            rounds=1,
        )
        for zone in (_ZONES[:1] if quick else _ZONES)
        for expression in _EXPRESSIONS
        for code, peer, steps in contenders
    ]


FIGURE = Figure(
    name="triggers",
    title="Trigger arithmetic",
    text=_TEXT,
    columns=(
        Column("next_us", "next_us", "per second", more=True),
        Column("next", "next", "per second", more=True),
        Column("previous_us", "previous_us", "per second", more=True),
        Column("count_us", "count_us, a year", "per second", more=True),
        Column("cronsim", "cronsim", "per second", more=True),
        Column("croniter", "croniter", "per second", more=True),
        Column("apscheduler3", "APScheduler 3", "per second", more=True),
    ),
    tasks=_tasks,
)
