"""Episodes as WebVTT subtitles, for browsers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import IO

from peclip.results.interface import RowWriter, SourceResult
from peclip.results.tiers import clock, tiers_of


class VttWriter(RowWriter):
    """One cue per episode in a source, with the person as its voice."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream = stream
        stream.write("WEBVTT\n\n")

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the cues of one source."""
        for tier, episode in tiers_of(prediction).by_time():
            times = f"{clock(episode.onset_s, '.')} --> {clock(episode.offset_s, '.')}"
            text = f"{tier.name}: {escape(episode.label, quote=False)}"
            self._stream.write(f"{times}\n<v {tier.name}>{text}</v>\n\n")
        self._stream.flush()
