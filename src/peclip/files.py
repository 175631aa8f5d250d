"""Files that are whole or not there."""

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
    """Gives the hidden name to write a file under; when the block ends, it takes the place of `path`.

    If the block fails, the file under the hidden name is removed, and what was at `path` stays.

    Raises:
        OSError: the file cannot be moved to its place.
    """
    partial = path.with_name(f".{path.name}{SUFFIX}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as a csv file with the columns of the first one; what a later row lacks is left empty.

    Raises:
        OSError: it cannot be written.
        ValueError: a later row has other columns.
    """
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def final_name(name: str) -> str:
    """Returns the name that a file gets, also of one that was left half-written."""
    return name.removeprefix(".").removesuffix(SUFFIX) if name.endswith(SUFFIX) else name
