"""Episodes as tab-separated values."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import IO

from peclip.results.episodes import episode_columns, timeline_of
from peclip.results.interface import RowWriter, SourceResult


class TsvWriter(RowWriter):
    """A header, then one line per episode."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream = stream
        self._writer = csv.DictWriter(
            stream, episode_columns(), delimiter="\t", lineterminator="\n"
        )
        self._writer.writeheader()

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the episodes of one source."""
        for person in timeline_of(prediction.source, prediction.rows).people:
            self._writer.writerows(episode.to_dict() for episode in person.episodes())
        self._stream.flush()
