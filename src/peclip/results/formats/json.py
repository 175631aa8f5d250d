"""Predictions as JSON documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO

from peclip.results.interface import RowWriter, SourceResult


class JsonWriter(RowWriter):
    """One document: `Prediction.to_dict()` of one source, or a list of them for several.

    Each source is written when it is complete; the brackets of the list come with the second source.
    """

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream = stream
        self._first: str | None = None
        self._count = 0

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the document of one source."""
        document = json.dumps(prediction.to_dict(), indent=2)
        self._count += 1
        if self._count == 1:
            self._first = document
            return
        if self._first is not None:
            self._stream.write("[\n" + self._first)
            self._first = None
        self._stream.write(",\n" + document)
        self._stream.flush()

    def close(self) -> None:
        """Writes pending output, and closes the list."""
        if self._first is not None:
            self._stream.write(self._first + "\n")
        elif self._count:
            self._stream.write("\n]\n")
        else:
            self._stream.write("[]\n")
        self._stream.flush()
