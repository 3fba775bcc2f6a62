"""The main job on real files: checksum a directory tree, back up a database, prune old backups.

    python examples/quickstart.py [directory]

One job fails on purpose. After three seconds the script prints the ledger, what the housekeeper
removed, and the state of the supervised actors. Without a directory it works in a temporary one.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pendulum

import kalends
from kalends import CleanupRule, Scheduler, every, once


# A job is a plain function with a stable name. The database stores that name, never code.
@kalends.job("tree.checksum")
def checksum_tree(directory: str) -> dict[str, object]:
    """One SHA-256 over the names and contents of all Python files below a directory."""
    digest = hashlib.sha256()
    files = sorted(Path(directory).rglob("*.py"))
    for path in files:
        digest.update(path.relative_to(directory).as_posix().encode())
        digest.update(path.read_bytes())
    return {"files": len(files), "sha256": digest.hexdigest()[:16]}


@kalends.job("inventory.backup")
def back_up(source: str, directory: str) -> dict[str, object]:
    """Copy a database that may be in use. The due instant names the copy: trying again is safe."""
    due = kalends.current().due
    target = Path(directory) / f"inventory-{due.format('HHmmss-SSSSSS')}.db"
    with (
        contextlib.closing(sqlite3.connect(source)) as original,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy)
        (check,) = copy.execute("PRAGMA integrity_check").fetchone()
    return {"file": target.name, "check": check}


@kalends.job("mail.digest")
def send_digest(recipient: str) -> None:
    """Fails: what a job raises is kept in the ledger, with its traceback."""
    raise ConnectionRefusedError(f"no mail server for {recipient}")


def main(directory: Path) -> None:
    """Run for three seconds, keep house, and show the accounts."""
    backups = directory / "backups"
    backups.mkdir(exist_ok=True)
    inventory = make_inventory(directory / "inventory.db")
    rule = CleanupRule.checked(
        name="old-backups", directory=str(backups), pattern="inventory-*.db", keep_last=3
    )

    # All that lasts is in one SQLite file. The keywords are settings.
    with Scheduler(directory / "kalends.db", cleanup=[rule]) as scheduler:
        now = pendulum.now("UTC")
        scheduler.schedule_event(
            checksum_tree,
            once(now),
            name="checksum",
            kwargs={"directory": str(Path(kalends.__file__).parent)},
            on_conflict="replace",  # the script may run again on the same database
        )
        scheduler.schedule_event(
            back_up,
            every(seconds=0.5).between(now, now.add(seconds=3)),
            name="backup",
            kwargs={"source": str(inventory), "directory": str(backups)},
            on_conflict="replace",
        )
        scheduler.schedule_event(
            "mail.digest",
            once(now),
            name="digest",
            kwargs={"recipient": "ada@example.org"},
            on_conflict="replace",
        )
        scheduler.wait(timeout=3)  # a real host serves its requests here
        house = scheduler.keep_house()

        show_ledger(scheduler)
        removed = sum(len(report.removed) for report in house.cleaned)
        left = len(list(backups.glob("inventory-*.db")))
        print(f"\nHousekeeper: removed {removed} old backups, {left} remain.\n")
        show_status(scheduler)


def make_inventory(path: Path) -> Path:
    """A small database, worth a backup."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS parts (name TEXT PRIMARY KEY, stock INTEGER)")
        parts = [(f"part-{number:04}", number) for number in range(2_000)]
        db.executemany("INSERT OR REPLACE INTO parts VALUES (?, ?)", parts)
    return path


def show_ledger(scheduler: Scheduler) -> None:
    """Every execution: when it was due, what became of it, and what it answered."""
    names = {event.id: event.name for event in scheduler.list_events().items}
    rows = [
        (
            execution.due.format("HH:mm:ss.SSS"),
            names[execution.event_id],
            execution.fate,
            milliseconds(execution.lateness),
            milliseconds(execution.duration),
            execution.error.message if execution.error else execution.result,
        )
        for execution in scheduler.list_executions(descending=False, limit=100).items
    ]
    print_table("Ledger", ("due (UTC)", "event", "fate", "late", "took", "answer"), rows)


def show_status(scheduler: Scheduler) -> None:
    """The actors, as their supervisors see them."""
    status = scheduler.status()
    heads = ("actor", "state", "restarts", "messages", "waiting")
    rows = [(a.name, a.state, a.restarts, a.received, a.waiting) for a in status.actors]
    print_table(f"Scheduler: {status.state}", heads, rows)


def milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"


def print_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as they need to be."""
    lines = [list(heads), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    print(title)
    for line in lines:
        print("  " + "  ".join(map(str.ljust, line, widths)).rstrip())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
