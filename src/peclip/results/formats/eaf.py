"""Episodes as an ELAN annotation document (extra `annotation`)."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from peclip.results.interface import RowWriter, SourceResult
from peclip.results.tiers import milliseconds, tiers_of


class EafWriter(RowWriter):
    """One tier per person in a source, linked to the video if it is a file."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream = stream

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the tiers of one source."""
        from pympi.Elan import Eaf, to_string

        document = Eaf(author="peclip")
        video = Path(prediction.source)
        if video.is_file():
            kind = mimetypes.guess_type(video.name)[0] or "video/*"
            document.add_linked_file(video.absolute().as_uri(), f"./{video.name}", kind)
        for tier in tiers_of(prediction).tiers:
            document.add_tier(tier.name)
            for episode in tier.episodes:
                onset, offset = milliseconds(episode.onset_s), milliseconds(episode.offset_s)
                document.add_annotation(tier.name, onset, offset, episode.label)
        if len(document.tiers) > 1:
            document.remove_tier("default")  # ELAN wants at least one
        self._stream.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        self._stream.write(to_string(document))
        self._stream.flush()
