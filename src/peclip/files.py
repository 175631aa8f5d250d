"""Writes files atomically, so that each is either complete or absent."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from peclip.errors import ConfigError

if TYPE_CHECKING:
    from filelock import BaseFileLock

SUFFIX = ".part"
LOCK = ".lock"
"""Suffix of a locked file's lock file, and name of the lock file in a locked folder."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a hidden temporary path; when the block ends, the file there replaces `path`.

    If the block fails, the temporary file is removed, and `path` is unchanged.

    Raises:
        OSError: the file cannot be moved to `path`.
    """
    partial = path.with_name(f".{path.name}{SUFFIX}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    r"""Writes rows to a CSV file with the columns of the first row; missing cells are left empty.

    Names that are not valid UTF-8 are written with escapes such as `\udcff`.

    Raises:
        OSError: it cannot be written.
        ValueError: a later row has different columns.
    """
    with (
        replacing(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def closest_existing(folder: Path) -> Path:
    """Returns a folder or, if it does not exist yet, its closest parent that does."""
    return next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))


def write_problem(folder: Path) -> str | None:
    """Returns why no file can be created in a folder, `None` if one can.

    One is created for a moment, because access rights tell too little: nobody can create files in /proc.
    """
    if not os.access(folder, os.W_OK):
        return os.strerror(errno.EACCES if folder.exists() else errno.ENOENT)
    try:
        with TemporaryFile(dir=folder):
            return None
    except FileNotFoundError:
        return "no file can be created in it"
    except OSError as error:
        return error.strerror or str(error)


@contextmanager
def locked(*outputs: Path | None, folder: Path | None = None) -> Iterator[None]:
    """Locks outputs against other processes while the block runs; see `lock`.

    `None`, standard output (`-`), pipes and devices are not locked.

    Args:
        outputs: files, or folders that exist.
        folder: an output that is a folder. It is created first, so that every process locks the same
            file in it, and removed in the end if nothing was written.

    Raises:
        ConfigError: another process is writing one of them, a lock file cannot be written, or the folder
            cannot be created.
    """
    chosen = {os.path.realpath(path): path for path in outputs if path is not None}
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(_created(folder))
            stack.callback(unlock, _acquire(folder, folder / LOCK))
        for path in chosen.values():
            if str(path) != "-" and (path.is_dir() or path.is_file() or not path.exists()):
                stack.callback(unlock, lock(path))
        yield


@contextmanager
def _created(folder: Path) -> Iterator[None]:
    """Creates a folder, and removes it again if it was created here and is still empty."""
    existed = folder.is_dir()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The output folder {str(folder)!r} cannot be created: {error.strerror or error}. Choose "
            "a folder whose parent exists and is writable."
        ) from None
    try:
        yield
    finally:
        if not existed:
            with suppress(OSError):  # it has files, or the lock of another run
                folder.rmdir()


def lock(output: Path) -> BaseFileLock:
    """Locks an output (a file or an existing folder) against other processes; see `unlock`.

    The operating system holds the lock on `OUTPUT.lock`, or `.lock` in a folder, until the process ends.

    Raises:
        ConfigError: another process is writing the output, or the lock file cannot be written.
    """
    place = output / LOCK if output.is_dir() else Path(f"{os.path.realpath(output)}{LOCK}")
    return _acquire(output, place)


def _acquire(output: Path, place: Path) -> BaseFileLock:
    from filelock import FileLock, Timeout  # slow to import, and few commands lock

    held = FileLock(place)
    try:
        held.acquire(timeout=0)
    except Timeout:
        if not place.exists() and (problem := write_problem(place.parent)) is not None:
            raise ConfigError(_unwritable(place, problem)) from None
        raise ConfigError(
            f"Another run is writing to {str(output)!r}. Wait until that run has finished, or write "
            "to another output."
        ) from None
    except (OSError, NotImplementedError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise ConfigError(_unwritable(place, problem)) from None
    return held


def _unwritable(place: Path, problem: str) -> str:
    return f"{place} cannot be written: {problem}. Choose an output in a writable folder."


def unlock(held: BaseFileLock) -> None:
    """Releases a lock, once: afterwards the lock file may be that of another run."""
    if held.is_locked:
        with suppress(OSError):  # Windows removes it after the release
            Path(held.lock_file).unlink(missing_ok=True)
        held.release()


def final_name(name: str) -> str:
    """Returns the final name of a file, given its final or temporary name."""
    return name.removeprefix(".").removesuffix(SUFFIX) if name.endswith(SUFFIX) else name
