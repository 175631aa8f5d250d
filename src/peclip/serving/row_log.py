"""The rows of one prediction, in a file: a server that keeps many predictions needs little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path


class RowLog:
    """Rows as lines of JSON, of which any range can be read while further ones are added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts = array("Q", [0])

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._starts) - 1

    def add(self, line: bytes) -> None:
        """Adds a row, without a line break."""
        with self._path.open("ab") as stream:
            stream.write(line + b"\n")
        self._starts.append(self._starts[-1] + len(line) + 1)

    def read(self, start: int = 0, count: int | None = None) -> list[bytes]:
        """Returns rows from a number on, without line breaks; none once the file was deleted."""
        end = len(self) if count is None else min(start + count, len(self))
        if start >= end:
            return []
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._starts[start])
                return stream.read(self._starts[end] - self._starts[start]).splitlines()
        except FileNotFoundError:
            return []

    def pages(self, size: int = 500) -> Iterator[list[bytes]]:
        """Yields all rows, some at a time."""
        for start in range(0, len(self), size):
            yield self.read(start, size)
