"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def final_name(name: str) -> str:
    """Returns the name that a file gets, also of one that was left half-written."""
    return name.removeprefix(".").removesuffix(SUFFIX) if name.endswith(SUFFIX) else name
