"""Rows as comma-separated values."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import IO

from peclip.results.interface import RowWriter
from peclip.results.rows import Row, column_names


class CsvWriter(RowWriter):
    """A header, then one line per row."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream, self._labels = stream, labels
        self._writer = csv.DictWriter(stream, column_names(labels), lineterminator="\n")
        self._writer.writeheader()
        stream.flush()

    def write_row(self, row: Row) -> None:
        """Writes one line."""
        self._writer.writerow(row.to_dict(self._labels))
        self._stream.flush()
