"""Rows as comma-separated values."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import IO, Any

from peclip.results.interface import RowWriter
from peclip.results.rows import Row, column_names


class CsvWriter(RowWriter):
    """A header, then one line per row."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream, self.labels = stream, labels
        self._writer = csv.DictWriter(stream, column_names(labels), lineterminator="\n")
        self._writer.writeheader()
        stream.flush()

    def write_row(self, row: Row) -> None:
        """Writes one line."""
        self.write_cells(row.to_dict(self.labels))

    def write_cells(self, cells: Mapping[str, Any]) -> None:
        """Writes one line with these cells."""
        self._writer.writerow(cells)
        self._stream.flush()
