"""What the hosts of this folder share: the jobs, and one scheduler for each process.

The scheduler is made when this is imported and opens nothing until it is started: a server may
import its application first and fork afterwards. However many processes start one, each instant is
run by one of them.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pendulum

import kalends
from kalends import Event, Scheduler, every, once

scheduler = Scheduler("sqlite:///kalends.db")


def note(line: str) -> None:
    """Add a line to a file that all processes write to."""
    with Path("runs.txt").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


@kalends.job("tick")
def tick() -> None:
    """Say which instant ran, and where."""
    note(f"tick {kalends.current().due.isoformat()} {os.getpid()}")


@kalends.job("remind")
def remind(text: str) -> str:
    """What a visitor asked for."""
    note(f"remind {text} {os.getpid()}")
    return text


def start() -> Scheduler:
    """Start the scheduler of this process; the event is there once, whoever comes first."""
    scheduler.start()
    scheduler.schedule_event("tick", every(seconds=0.1), name="tick", on_conflict="keep")
    return scheduler


def remind_soon(text: str) -> Event:
    """Schedule a reminder a moment from now."""
    return scheduler.schedule_event("remind", in_a_moment(), kwargs={"text": text})


def in_a_moment() -> kalends.Trigger:
    """Once, in a fifth of a second."""
    return once(pendulum.now("UTC") + timedelta(seconds=0.2))
