"""Episodes as SubRip subtitles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from peclip.results.interface import RowWriter, SourceResult
from peclip.results.tiers import clock, tiers_of


class SrtWriter(RowWriter):
    """One subtitle per episode in a source."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream = stream

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the subtitles of one source."""
        for number, (tier, episode) in enumerate(tiers_of(prediction).by_time(), start=1):
            times = f"{clock(episode.onset_s, ',')} --> {clock(episode.offset_s, ',')}"
            self._stream.write(f"{number}\n{times}\n{tier.name}: {episode.label}\n\n")
        self._stream.flush()
