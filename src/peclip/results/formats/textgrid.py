"""Episodes as a TextGrid for Praat (extra `annotation`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from peclip.results.interface import RowWriter, SourceResult
from peclip.results.tiers import tiers_of

_NO_TIER = "no face"
_SHORTEST_S = 0.001


class TextGridWriter(RowWriter):
    """One interval tier per person in a source; Praat requires at least one tier and a duration above 0."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream = stream

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the tiers of one source."""
        from pympi.Praat import TextGrid

        found = tiers_of(prediction)
        grid = TextGrid(xmin=0, xmax=max(found.end_s, _SHORTEST_S))
        for tier in found.tiers:
            intervals = grid.add_tier(tier.name)
            for episode in tier.episodes:
                intervals.add_interval(episode.onset_s, episode.offset_s, episode.label)
        if not found.tiers:
            grid.add_tier(_NO_TIER)
        with TemporaryDirectory() as folder:  # pympi writes only to paths
            path = Path(folder) / "grid"
            grid.to_file(path)
            self._stream.write(path.read_text(encoding="utf-8"))
        self._stream.flush()
