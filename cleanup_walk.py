"""The disk side of file clean-up: look into a declared directory, remove one name, follow nothing.

What this module promises:

- Every component of a path, from the root of the file system down, is opened without following
  links (``O_NOFOLLOW | O_DIRECTORY`` on directory handles). A link anywhere on the way is a
  refusal.
- Only the declared directory is looked at, or the tree below it; never another file system mounted
  in it, and never deeper than ``MAX_DEPTH`` folders. Nothing but directories is ever opened, so a
  fifo cannot block and a device cannot act.
- A file is removed by its name in a handle on its folder, walked anew, right after it was found to
  be the same regular file (device, inode, size, time of change) that was examined. The instant
  between that look and the removal cannot be closed on POSIX; what it can cost is one name in that
  very folder.
- The declared directory must still be the directory that was scanned, else ``CannotClean``.

Where a platform has no directory handles (Windows), ``PathFolder`` makes the same checks by path;
the unclosed instants are then as long as one call.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
import sys
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import PurePath
from typing import Protocol

import msgspec

__all__ = [
    "DIRECTORY_HANDLES",
    "MAX_DEPTH",
    "MAX_PENDING",
    "CannotClean",
    "Changed",
    "FileInfo",
    "ProtectedFiles",
    "Tree",
    "Unfit",
    "remove",
    "sacred_directories",
    "scan",
    "why",
]

Identity = tuple[int, int]
"""Device and inode: what a file is, whatever it is called."""

MAX_DEPTH = 64
"""Folders below the declared directory; a deeper one is reported, not entered."""

MAX_PENDING = 100_000
"""Folders found and not yet entered; further ones are reported, not entered."""

COMPANIONS = ("", "-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database for its own files."""

DIRECTORY_HANDLES = (
    {os.open, os.stat, os.unlink} <= os.supports_dir_fd
    and os.scandir in os.supports_fd
    and hasattr(os, "O_NOFOLLOW")
    and hasattr(os, "O_DIRECTORY")
)
"""Whether this platform can walk on handles of directories."""

_TO_READ = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | os.O_RDONLY
# A folder on the way is only passed through: O_PATH needs no permission to list it, and /home is
# often 0711.
_TO_PASS = _TO_READ | getattr(os, "O_PATH", 0)


class CannotClean(Exception):
    """The run ends: what it stands on is gone, replaced or cannot be told. Stays in clean-up."""


class Changed(Exception):
    """A name no longer stands for the file that was examined. Stays in clean-up."""


class FileInfo(msgspec.Struct, frozen=True, gc=False):
    """A regular file as examined; ``path`` is below the declared directory, joined by ``/``."""

    path: str
    size: int
    modified_ns: int
    device: int
    inode: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def identity(self) -> Identity:
        return (self.device, self.inode)

    def describes(self, found: os.stat_result) -> bool:
        """Whether ``found`` is this file, unchanged. The number of its names may differ."""
        return (
            _is_plain(found, stat.S_IFREG)
            and (found.st_dev, found.st_ino) == self.identity
            and (found.st_size, found.st_mtime_ns) == (self.size, self.modified_ns)
        )


class Unfit(msgspec.Struct, frozen=True, gc=False):
    """A name that clean-up leaves alone whatever the rule says, and why."""

    path: str
    why: str


def why(refusal: OSError) -> str:
    """The system's word for a refusal, without the path."""
    if refusal.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a link or no directory on the way"
    return refusal.strerror or type(refusal).__name__


def _is_plain(found: os.stat_result, kind: int) -> bool:
    """Of this kind, and no Windows reparse point (junction, mount point, symbolic link)."""
    reparse = getattr(found, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_REPARSE_POINT
    return stat.S_IFMT(found.st_mode) == kind and not reparse


# --------------------------------------------------------------------------------------- folders
class Folder(Protocol):
    """One directory, entered without following links."""

    identity: Identity

    def child(self, name: str) -> Folder:
        """Enter a folder in this one; ``OSError`` where it is a link or no directory."""

    def entries(self) -> Iterator[tuple[str, bool]]:
        """The names in it, each with whether it seems to be a directory (a hint)."""

    def lstat(self, name: str) -> os.stat_result: ...

    def unlink(self, name: str) -> None: ...

    def close(self) -> None: ...


class HandleFolder:
    """A folder by its handle: what happens to its path meanwhile does not matter."""

    def __init__(self, path: str, within: int | None = None) -> None:
        self._handle = os.open(path, _TO_PASS, dir_fd=within)
        found = os.fstat(self._handle)
        self.identity: Identity = (found.st_dev, found.st_ino)

    def child(self, name: str) -> HandleFolder:
        return HandleFolder(name, self._handle)

    def entries(self) -> Iterator[tuple[str, bool]]:
        readable = os.open(".", _TO_READ, dir_fd=self._handle)
        try:
            with os.scandir(readable) as found:
                for entry in found:
                    yield entry.name, entry.is_dir(follow_symlinks=False)
        finally:
            os.close(readable)

    def lstat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self._handle, follow_symlinks=False)

    def unlink(self, name: str) -> None:
        os.unlink(name, dir_fd=self._handle)

    def close(self) -> None:
        os.close(self._handle)


class PathFolder:
    """A folder by its path, looked at again before every use."""

    def __init__(self, path: str) -> None:
        self._path = path
        found = os.lstat(path)
        if not _is_plain(found, stat.S_IFDIR):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        self.identity: Identity = (found.st_dev, found.st_ino)

    def child(self, name: str) -> PathFolder:
        return PathFolder(self._join(name))

    def entries(self) -> Iterator[tuple[str, bool]]:
        with os.scandir(self._join("")) as found:
            for entry in found:
                yield entry.name, entry.is_dir(follow_symlinks=False)

    def lstat(self, name: str) -> os.stat_result:
        return os.lstat(self._join(name))

    def unlink(self, name: str) -> None:
        os.unlink(self._join(name))

    def close(self) -> None:
        pass  # holds nothing open

    def _join(self, name: str) -> str:
        found = os.lstat(self._path)
        if not _is_plain(found, stat.S_IFDIR) or (found.st_dev, found.st_ino) != self.identity:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self._path)
        return os.path.join(self._path, name)


class Tree:
    """The declared directory. Raises ``CannotClean`` where it is missing, linked or unreadable."""

    def __init__(self, directory: str, *, by_path: bool = not DIRECTORY_HANDLES) -> None:
        self.directory = directory
        self._kind: type[HandleFolder] | type[PathFolder] = PathFolder if by_path else HandleFolder
        root = self._enter_root()
        self.identity = root.identity
        root.close()

    @contextmanager
    def folder(self, below: Sequence[str]) -> Iterator[Folder]:
        """Enter a folder, from the root of the file system down, by way of the directory."""
        here = self._enter_root()
        try:
            if here.identity != self.identity:
                raise CannotClean("directory: it was replaced by another directory during the run")
            for part in below:
                outer, here = here, here.child(part)
                outer.close()
            yield here
        finally:
            here.close()

    def _enter_root(self) -> Folder:
        pure = PurePath(self.directory)
        try:
            here: Folder = self._kind(pure.anchor)
            try:
                for part in pure.parts[1:]:
                    outer, here = here, here.child(part)
                    outer.close()
            except OSError:
                here.close()
                raise
        except OSError as refusal:
            raise CannotClean(f"directory: {why(refusal)}") from refusal
        return here


# ------------------------------------------------------------------------------ scan and removal
def scan(tree: Tree, pattern: str, *, recursive: bool) -> Generator[FileInfo | Unfit]:
    """Every name that matches, as a file or as unfit; folders that cannot be entered, as unfit.

    Raises ``CannotClean`` when the declared directory cannot be listed or is another at the end. A
    name that vanishes while it is looked at was never there; a directory is not a file and is
    passed over in silence.
    """
    matches = re.compile(fnmatch.translate(os.path.normcase(pattern))).match
    pending: list[tuple[str, ...]] = [()]
    while pending:
        below = pending.pop()
        try:
            with tree.folder(below) as folder:
                if folder.identity[0] != tree.identity[0]:
                    yield Unfit("/".join(below), "on another file system")
                    continue
                for name, is_folder in folder.entries():
                    if is_folder:
                        if recursive:
                            yield from _queue(pending, (*below, name))
                    elif matches(os.path.normcase(name)):
                        yield from _examine(folder, below, name)
        except OSError as refusal:
            if not below:
                raise CannotClean(f"directory: {why(refusal)}") from refusal
            if not isinstance(refusal, FileNotFoundError):
                yield Unfit("/".join(below), why(refusal))
    with tree.folder(()):
        pass  # still the same directory: else what was found is of no use


def _queue(pending: list[tuple[str, ...]], below: tuple[str, ...]) -> Iterator[Unfit]:
    if len(below) > MAX_DEPTH:
        yield Unfit("/".join(below), f"deeper than {MAX_DEPTH} folders")
    elif len(pending) >= MAX_PENDING:
        yield Unfit("/".join(below), f"more than {MAX_PENDING} folders waiting")
    else:
        pending.append(below)


def _examine(folder: Folder, below: tuple[str, ...], name: str) -> Iterator[FileInfo | Unfit]:
    path = "/".join((*below, name))
    try:
        found = folder.lstat(name)
    except FileNotFoundError:
        return
    except OSError as refusal:
        yield Unfit(path, why(refusal))
        return
    if _is_plain(found, stat.S_IFREG):
        yield FileInfo(path, found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino)
    elif stat.S_ISLNK(found.st_mode):
        yield Unfit(path, "a symbolic link")
    elif not stat.S_ISDIR(found.st_mode):
        yield Unfit(path, "not a regular file")


def remove(tree: Tree, file: FileInfo, *, dry_run: bool) -> int:
    """Remove the file if it is still the one examined; return how many names it had.

    Raises ``FileNotFoundError`` if it is gone, ``Changed``, ``CannotClean``, or the system's
    refusal.
    """
    *below, name = file.path.split("/")
    with tree.folder(below) as folder:
        found = folder.lstat(name)
        if not file.describes(found):
            raise Changed("changed since it was examined")
        if not dry_run:
            folder.unlink(name)
        return found.st_nlink


# ------------------------------------------------------------------------- what nobody may remove
class ProtectedFiles:
    """The database's files, by name and by identity: no other name of them is removed either."""

    def __init__(self, paths: Collection[str]) -> None:
        roots = {way(path) for path in paths for way in (os.path.abspath, os.path.realpath)}
        self._paths = {os.path.normcase(root + ending) for root in roots for ending in COMPANIONS}

    def identities(self) -> frozenset[Identity]:
        """What the names stand for now. ``CannotClean`` where that cannot be told."""
        found: set[Identity] = set()
        for path in self._paths:
            try:
                state = os.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as refusal:
                raise CannotClean(f"protected files: {why(refusal)}") from refusal
            found.add((state.st_dev, state.st_ino))
        return frozenset(found)

    def names(self, path: str) -> bool:
        """Whether this absolute path is one of theirs, be it there or not."""
        return os.path.normcase(path) in self._paths


def sacred_directories() -> frozenset[str]:
    """The root of the file system, the home directory under all its names, and all above it."""
    homes = [os.path.expanduser("~")]
    if sys.platform != "win32":
        import pwd

        with suppress(KeyError):  # a container's user may have no entry
            homes.append(pwd.getpwuid(os.getuid()).pw_dir)
    sacred = {os.path.abspath(os.sep)}
    for home in filter(os.path.isabs, homes):
        for path in (os.path.abspath(home), os.path.realpath(home)):
            pure = PurePath(path)
            sacred.update(map(str, (pure, *pure.parents)))
    return frozenset(sacred)
