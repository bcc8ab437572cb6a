"""Atomic writing of files, CSV and JSON: write to a temporary file, then rename."""

import contextlib
import csv
import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_LONGEST = 200
"""Characters of a file's name that its temporary name repeats, so that it is not too long."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; rename it over ``path`` if the block succeeds.

    The data is flushed to disk before the rename, so a crash leaves the old file or the new
    one, never a mixture. On an error the temporary file is removed. An OSError names ``path``.
    """
    make_folder(path.parent)
    with named(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:_LONGEST]}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    with named(path, temporary), contextlib.ExitStack() as stack:
        stack.callback(_remove, temporary)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0o077)  # never 0, with which another thread may make a file meanwhile
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make ``folder`` and those above it, unless they exist. Raises OSError, also on a file."""
    try:
        folder.mkdir(mode, parents=True, exist_ok=True)
    except FileExistsError as error:
        why = os.strerror(errno.ENOTDIR)
        raise NotADirectoryError(errno.ENOTDIR, why, error.filename) from None


def _remove(temporary: Path) -> None:
    """Remove a file; a file system that has become read-only must not hide the first error."""
    with contextlib.suppress(OSError):
        temporary.unlink()


@contextlib.contextmanager
def named(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let an OSError of the block name ``path``, where it names no file or ``temporary``.

    The system names a file that cannot be opened, but none that cannot be written or flushed.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or temporary is None or error.filename == str(temporary):
            error.filename = str(path)
            if error.filename2 is not None:  # of a rename
                del error.filename2
        raise


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder; what the block makes in it replaces files of ``folder`` at its end.

    All of them or, where the block raises, for example on a full disk, none. Folders in it are
    merged with those of ``folder``; other files of ``folder`` stay.
    """
    missing = next((p for p in reversed([folder, *folder.parents]) if not p.exists()), None)
    make_folder(folder)
    try:
        with temporary_folder("new", folder) as new, _named_below(new, folder):
            yield new
            files = sorted(path for path in new.rglob("*") if not path.is_dir())
            targets = [folder / path.relative_to(new) for path in files]
            for target in targets:  # whatever can fail, before the first file is replaced
                make_folder(target.parent)
                if target.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
            for path, target in zip(files, targets, strict=True):
                with named(target):
                    path.replace(target)
    except BaseException:
        _remove_empty(folder, missing)
        raise


@contextlib.contextmanager
def _named_below(new: Path, folder: Path) -> Iterator[None]:
    """Let an OSError about a file in ``new`` name the file in ``folder`` that it would become."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(new):
            error.filename = str(folder / Path(os.fsdecode(error.filename)).relative_to(new))
        raise


def _remove_empty(folder: Path, top: Path | None) -> None:
    """Remove ``folder`` and those above it up to ``top``, which were made for nothing."""
    if top is None:
        return
    with contextlib.suppress(OSError):
        for path in [folder, *folder.parents]:
            path.rmdir()
            if path == top:
                return


def own_folder(path: Path, *, private: bool = True) -> Path:
    """Make the folder ``path`` for what this user runs; others may not write in it.

    With ``private`` they may not enter it either. One that is there already is taken over, with
    its rights reduced. Raises PermissionError where it, or a link at its place, is another user's:
    anyone may have made it first where the name can be guessed.
    """
    make_folder(path, 0o700 if private else 0o755)
    for status in (path.lstat(), path.stat()):
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "belongs to another user", str(path))
    unwanted = status.st_mode & (0o077 if private else 0o022)
    if unwanted:
        path.chmod(stat.S_IMODE(status.st_mode) & ~unwanted)
    return path


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of processes that were killed while they wrote ``path``.

    Call it only where no other process is writing ``path``.
    """
    for temporary in path.parent.glob(f".{glob.escape(path.name[:_LONGEST])}.????????"):
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically, making its folder where needed."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` atomically, making its folder where needed."""
    write_bytes(path, text.encode())


def append_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Add ``rows`` to a CSV file, with its header first; None becomes empty.

    Errors in writing are ignored: a full disk is reported where a required file is written.
    """
    with contextlib.suppress(OSError), path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def short_hash(value: Any, length: int = 8) -> str:
    """A short, stable hexadecimal name for a JSON-able value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of cells that spreadsheets evaluate as formulas, which can run programs."""


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``columns`` of ``rows`` to ``path``; None becomes an empty cell.

    Text that a spreadsheet would evaluate as a formula is preceded by an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_harmless(row.get(column)) for column in columns] for row in rows)
    write_text(path, text.getvalue())


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def wait_for_lock(file: IO[Any], why: str) -> bool | None:
    """:func:`take_lock`, until it is free; where another process holds it, stderr says that this
    one waits, and ``why``, and when it goes on."""
    taken = take_lock(file)
    if taken is not False:
        return taken
    start = time.monotonic()
    print(f"waits for {file.name}, {why}", file=sys.stderr, flush=True)
    taken = take_lock(file, wait=True)
    waited = time.monotonic() - start
    print(f"goes on after {waited:.0f} s: {file.name} is free", file=sys.stderr, flush=True)
    return taken


def open_lock(path: Path, *, create: bool = True) -> IO[bytes]:
    """Open a file that is locked: never what a link names, and no pipe, which would be waited for.

    Raises OSError, also where it is no regular file.
    """
    flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "is not a file", str(path))
    return os.fdopen(handle, "r+b" if create else "rb", buffering=0)


def take_lock(file: IO[Any] | int, *, wait: bool = False, shared: bool = False) -> bool | None:
    """Lock an open file or folder against other processes, until it is closed or its holder dies.

    False: another process holds it. None: the file system has no locks. ``wait``: until it is free.
    ``shared``: only against processes that take an unshared lock.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


TEMPORARY = "weather_hpc-"
"""What the names of all temporary folders begin with."""

_NEW_S = 60.0
"""A folder that is younger may not be locked yet, s."""


@contextlib.contextmanager
def temporary_folder(purpose: str, place: Path | None = None) -> Iterator[Path]:
    """A new folder ``weather_hpc-<purpose>-...`` that nobody else may enter (mode 0700).

    In ``place``, else where the system wants temporary files. It is locked while it is in use, and
    removed at the end of the block. Before it is made, folders of this user that killed processes
    have left, which nobody holds locked, are removed.
    """
    where = Path(tempfile.gettempdir()) if place is None else place
    _remove_unused(where)
    with named(where):
        made = tempfile.TemporaryDirectory(
            prefix=f"{TEMPORARY}{purpose}-", dir=where, ignore_cleanup_errors=True
        )
    with made as name:
        held = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            take_lock(held)
            yield Path(name)
        finally:
            os.close(held)


def _remove_unused(place: Path) -> None:
    """Remove this user's temporary folders in ``place`` that no process holds locked."""
    for folder in place.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            status = folder.stat(follow_symlinks=False)
            if status.st_uid != os.geteuid() or time.time() - status.st_ctime < _NEW_S:
                continue
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if take_lock(held):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
