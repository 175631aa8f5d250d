"""Rows as a CSV file that Excel opens correctly: with a byte order mark and without formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

from peclip.results.formats.csv import CsvWriter
from peclip.results.rows import Row

BYTE_ORDER_MARK = "\ufeff"
"""Tells Excel that the file is UTF-8."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ExcelWriter(CsvWriter):
    """A byte order mark, a header, then one line per row; no text is treated as a formula."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        stream.write(BYTE_ORDER_MARK)
        super().__init__(stream, labels)

    def write_row(self, row: Row) -> None:
        """Writes one line."""
        self.write_cells(without_formulas(row.to_dict(self.labels)))


def without_formulas(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the cells, with an apostrophe before text that Excel would treat as a formula."""
    return {
        name: f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
        for name, cell in cells.items()
    }
