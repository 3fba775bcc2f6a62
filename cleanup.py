"""File clean-up rules: which files of a declared directory go, why, and their guarded removal.

Three steps, each usable alone: ``CleanupRule.checked`` refuses a rule that could do harm,
``select`` decides from values alone, ``run_rule`` looks, decides, removes and reports.
``cleanup_walk`` says what is promised about the disk: no link is followed, the declared directory
is never left, only regular files go.

What a rule means. Of the files whose *name* matches ``pattern`` (in the tree below the directory as
one set, where the rule is ``recursive``), ordered by the time of their last change, equal times by
path:

- ``keep_last``: the newest n always stay, whatever else the rule says. Where it is the only
  criterion, everything outside the newest n goes (reason ``keep_last``).
- ``older_than``: a file last changed more than so many seconds ago goes (reason ``older_than``).
- ``max_total_bytes``: of what is left, the oldest go until the rest, the newest n included, fits
  (reason ``total_size``). Several names of one file count once.

``*`` in a pattern also matches a leading dot. Folders are never removed. A run examines at most
``MAX_EXAMINED`` names (about 300 bytes each); whatever it removes then, it would have removed
knowing all of them, and the next run goes on. Everything here blocks: call it from an ordinary
thread.
"""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import closing, suppress
from typing import Literal

import msgspec

from kalends.cleanup_rule import CleanupRule, checked_values, refused
from kalends.cleanup_walk import (
    DIRECTORY_HANDLES,
    CannotClean,
    Changed,
    FileInfo,
    ProtectedFiles,
    Tree,
    Unfit,
    remove,
    sacred_directories,
    scan,
    why,
)

__all__ = [
    "MAX_EXAMINED",
    "MAX_SKIPPED",
    "CleanupReport",
    "CleanupRule",
    "Doomed",
    "FileInfo",
    "Reason",
    "Removed",
    "Skipped",
    "run_rule",
    "select",
]

Reason = Literal["older_than", "keep_last", "total_size"]

MAX_EXAMINED = 250_000
"""Names one run takes into account."""

MAX_SKIPPED = 1_000
"""Skipped names a report lists; ``skipped_count`` counts on."""


class Doomed(msgspec.Struct, frozen=True, gc=False):
    """A file that a rule removes, and by which criterion."""

    file: FileInfo
    reason: Reason


class Removed(msgspec.Struct, frozen=True, gc=False):
    """A removed name and the bytes that its removal freed: 0 while the file has another name."""

    path: str
    bytes: int
    reason: Reason


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """A name that was left alone whatever the rule says, and why."""

    path: str
    why: str


class CleanupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did, or would do (``dry_run``). Plain JSON values.

    ``examined`` is the number of removed, kept, skipped and vanished names together. ``error`` says
    why a run ended early, or did not begin; ``truncated`` that there were more names than
    ``MAX_EXAMINED``. Paths are absolute and for reading: characters that do not print, or are not
    text, appear escaped.
    """

    rule: str
    directory: str
    started_us: int
    dry_run: bool
    examined: int
    removed: tuple[Removed, ...]
    kept: int
    vanished: int
    skipped: tuple[Skipped, ...]
    skipped_count: int
    freed_bytes: int
    truncated: bool
    error: str | None


# ------------------------------------------------------------------------------------ the decision
def select(files: Sequence[FileInfo], rule: CleanupRule, now_us: int) -> list[Doomed]:
    """Which of the files go, oldest first. ``now_us``: wall time, microseconds since the epoch."""
    matching = [file for file in files if fnmatch.fnmatch(file.name, rule.pattern)]
    matching.sort(key=lambda file: (file.modified_ns, file.path))
    eligible = max(0, len(matching) - (rule.keep_last or 0))
    doomed: list[Doomed] = []
    left = matching[:eligible]
    if rule.older_than is not None:
        before_ns = (now_us - round(rule.older_than * 1_000_000)) * 1000
        # Sorted by time: the old ones are a prefix.
        count = sum(1 for file in left if file.modified_ns < before_ns)
        doomed += [Doomed(file, "older_than") for file in left[:count]]
        left = left[count:]
    if rule.max_total_bytes is not None:
        rest = left + matching[eligible:]
        count = min(len(left), _excess(rest, rule.max_total_bytes))
        doomed += [Doomed(file, "total_size") for file in left[:count]]
    elif rule.older_than is None and rule.keep_last is not None:
        doomed = [Doomed(file, "keep_last") for file in left]
    return doomed


def _excess(oldest_first: Sequence[FileInfo], limit: int) -> int:
    """How many of the oldest must go until the rest fits; a file of several names counts once."""
    names = Counter(file.identity for file in oldest_first)
    total = sum({file.identity: file.size for file in oldest_first}.values())
    for count, file in enumerate(oldest_first):
        if total <= limit:
            return count
        names[file.identity] -= 1
        if not names[file.identity]:
            total -= file.size
    return len(oldest_first)


# ----------------------------------------------------------------------------------------- the run
def run_rule(
    rule: CleanupRule,
    *,
    now_us: int,
    protected: Collection[str],
    before_delete: Callable[[str], None] | None = None,
    by_path: bool = not DIRECTORY_HANDLES,
) -> CleanupReport:
    """Carry the rule out once and report; blocks for as long as the disk takes.

    ``protected``: paths of databases, which with their ``-wal``, ``-shm`` and ``-journal`` files
    are never removed, under any name. ``before_delete`` hears each path just before its last
    examination. ``by_path``: walk without directory handles, as platforms must that have none. What
    is found on disk never raises: it stands in the report. ``ValidationFailed`` is raised for a
    rule that was not checked and would not pass, and for ``protected`` that holds anything but
    paths.
    """
    run = _Run(checked_values(msgspec.structs.asdict(rule)), now_us, _checked_protected(protected))
    try:
        tree = Tree(run.rule.directory, by_path=by_path)
        _refuse_sacred_identity(tree)
        run.look(tree)
        run.act(tree, before_delete)
    except CannotClean as refusal:
        run.error = str(refusal)
    return run.report()


class _Run:
    """The accounts of one run."""

    def __init__(self, rule: CleanupRule, now_us: int, protected: ProtectedFiles) -> None:
        self.rule, self.now_us, self.protected = rule, now_us, protected
        self.files: list[FileInfo] = []
        self.removed: list[Removed] = []
        self.skipped: list[Skipped] = []
        self.examined = self.skipped_count = self.vanished = 0
        self.truncated = False
        self.error: str | None = None

    def look(self, tree: Tree) -> None:
        guarded = self.protected.identities()
        with closing(scan(tree, self.rule.pattern, recursive=self.rule.recursive)) as found:
            for item in found:
                if self.examined >= MAX_EXAMINED:
                    self.truncated = True
                    return
                self.examined += 1
                if isinstance(item, Unfit):
                    self.skip(item.path, item.why)
                elif item.identity in guarded or self.protected.names(self.full(item.path)):
                    self.skip(item.path, "belongs to the database")
                else:
                    self.files.append(item)

    def act(self, tree: Tree, before_delete: Callable[[str], None] | None) -> None:
        removed_names: Counter[tuple[int, int]] = Counter()
        for doomed in select(self.files, self.rule, self.now_us):
            file = doomed.file
            if before_delete is not None:
                before_delete(self.full(file.path))
            # A database may have got this name, or this file, since it was examined.
            if file.identity in self.protected.identities():
                self.skip(file.path, "belongs to the database")
                continue
            try:
                names = remove(tree, file, dry_run=self.rule.dry_run)
            except FileNotFoundError:
                self.vanished += 1
            except Changed as changed:
                self.skip(file.path, str(changed))
            except OSError as refusal:
                self.skip(file.path, why(refusal))
            else:
                # A dry run leaves the names in place that a real one would have counted off.
                names -= removed_names[file.identity] if self.rule.dry_run else 0
                removed_names[file.identity] += 1
                freed = file.size if names <= 1 else 0
                self.removed.append(Removed(self.shown(file.path), freed, doomed.reason))

    def skip(self, path: str, reason: str) -> None:
        self.skipped_count += 1
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append(Skipped(self.shown(path), reason))

    def full(self, path: str) -> str:
        return os.path.join(self.rule.directory, *path.split("/"))

    def shown(self, path: str) -> str:
        return _printable(self.full(path))

    def report(self) -> CleanupReport:
        return CleanupReport(
            rule=self.rule.name,
            directory=_printable(self.rule.directory),
            started_us=self.now_us,
            dry_run=self.rule.dry_run,
            examined=self.examined,
            removed=tuple(self.removed),
            kept=self.examined - len(self.removed) - self.skipped_count - self.vanished,
            vanished=self.vanished,
            skipped=tuple(self.skipped),
            skipped_count=self.skipped_count,
            freed_bytes=sum(removed.bytes for removed in self.removed),
            truncated=self.truncated,
            error=self.error,
        )


def _printable(path: str) -> str:
    """One line of storable text: a newline in a name must not forge a line of a log."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)


def _refuse_sacred_identity(tree: Tree) -> None:
    """The same by what the directory is: a bind mount or another spelling has another name."""
    for path in sacred_directories():
        with suppress(OSError):
            found = os.stat(path)
            if (found.st_dev, found.st_ino) == tree.identity:
                raise CannotClean("directory: it is the root, the home directory or one above it")


def _checked_protected(given: object) -> ProtectedFiles:
    if isinstance(given, (str, bytes)) or not isinstance(given, Collection):
        raise refused("protected", "must be a collection of paths")
    paths: list[str] = []
    for index, path in enumerate(given):
        if not isinstance(path, str) or not path or "\0" in path:
            raise refused(f"protected[{index}]", "must be a path")
        paths.append(path)
    return ProtectedFiles(paths)
