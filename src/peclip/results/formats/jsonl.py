"""Rows as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO

from peclip.results.interface import RowWriter
from peclip.results.rows import Row


class JsonLinesWriter(RowWriter):
    """One JSON object per row and line."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream, self._labels = stream, labels

    def write_row(self, row: Row) -> None:
        """Writes one line."""
        print(json.dumps(row.to_dict(self._labels)), file=self._stream, flush=True)
