"""Episodes as SubRip subtitles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from peclip.results.interface import RowWriter, SourceResult
from peclip.results.tiers import clock, tiers_of

_PLAIN = str.maketrans("<>{}", "‹›()")
"""SubRip has no escapes, and players take `<i>` and `{\\an8}` as markup, so similar characters replace the brackets."""


class SrtWriter(RowWriter):
    """One subtitle per episode in a source."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream = stream

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the subtitles of one source."""
        for number, (tier, episode) in enumerate(tiers_of(prediction).by_time(), start=1):
            times = f"{clock(episode.onset_s, ',')} --> {clock(episode.offset_s, ',')}"
            text = f"{tier.name}: {episode.label.translate(_PLAIN)}"
            self._stream.write(f"{number}\n{times}\n{text}\n\n")
        self._stream.flush()
