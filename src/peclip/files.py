"""Atomic file writes: a file is complete or absent."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    """Writes rows as a CSV file with the columns of the first one; missing cells are left empty.

    Raises:
        OSError: it cannot be written.
        ValueError: a later row has other columns.
    """
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def final_name(name: str) -> str:
    """Returns the final name of a file, given its final or temporary name."""
    return name.removeprefix(".").removesuffix(SUFFIX) if name.endswith(SUFFIX) else name
