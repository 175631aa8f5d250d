"""Files: written atomically, so that each is complete or absent."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peclip.errors import ConfigError

if TYPE_CHECKING:
    from filelock import BaseFileLock

SUFFIX = ".part"


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
    r"""Writes rows as a CSV file with the columns of the first one; missing cells are left empty.

    A name that is not UTF-8 is written with escapes such as `\udcff`.

    Raises:
        OSError: it cannot be written.
        ValueError: a later row has other columns.
    """
    with (
        replacing(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def lock(path: Path) -> BaseFileLock:
    """Locks a growing file against other processes; see `unlock`.

    Raises:
        ConfigError: another run has locked it, or the lock file cannot be written.
    """
    from filelock import FileLock, Timeout  # slow to import, and few commands lock

    held = FileLock(f"{path}.lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"Another run is writing {str(path)!r}. Wait until it has finished, or use a separate "
            "file for each run."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path}.lock cannot be written: {error.strerror or error}. Choose a file in a "
            "writable folder."
        ) from None
    return held


def unlock(held: BaseFileLock) -> None:
    """Releases a lock, once: afterwards the lock file may be that of another run."""
    if held.is_locked:
        Path(held.lock_file).unlink(missing_ok=True)
        held.release()


def final_name(name: str) -> str:
    """Returns the final name of a file, given its final or temporary name."""
    return name.removeprefix(".").removesuffix(SUFFIX) if name.endswith(SUFFIX) else name
