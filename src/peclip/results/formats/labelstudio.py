"""Episodes as predictions for Label Studio, which shows them on the timeline of a video."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

from peclip.results.interface import RowWriter, SourceResult
from peclip.results.tiers import tiers_of


class LabelStudioWriter(RowWriter):
    """A list with one task per source; its prediction has a region of a `TimelineLabels` tag per episode."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream = stream
        self._separator = "[\n"

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the task of one source."""
        model = next((row.model for row in prediction.rows), "peclip")
        regions = list(_regions(prediction))
        task = {
            "data": {"video": prediction.source},
            "predictions": [{"model_version": model, "result": regions}],
        }
        self._stream.write(self._separator + json.dumps(task, indent=2))
        self._separator = ",\n"
        self._stream.flush()

    def close(self) -> None:
        """Closes the list."""
        self._stream.write("[]\n" if self._separator == "[\n" else "\n]\n")
        self._stream.flush()


def _regions(prediction: SourceResult) -> Iterator[dict[str, Any]]:
    clock = _FrameClock(prediction)
    for tier in tiers_of(prediction).tiers:
        for episode in tier.episodes:
            start = clock.frame(episode.onset_s)
            yield {
                "id": f"{episode.track_id}_{episode.number}",
                "type": "timelinelabels",
                "from_name": "expression",
                "to_name": "video",
                "value": {
                    "ranges": [
                        {"start": start + 1, "end": max(start + 1, clock.frame(episode.offset_s))}
                    ],
                    "timelinelabels": [episode.label],
                },
                "score": round(episode.mean_prob, 6),
                "meta": {"text": [tier.name]},
            }


class _FrameClock:
    """Converts times to frame numbers at the mean rate of a source, because Label Studio knows only constant rates.

    Label Studio counts frames from 1, and both ends of a range belong to it.
    """

    def __init__(self, prediction: SourceResult) -> None:
        rows = [row for row in prediction.rows if row.end_s > row.start_s]
        self._start_s = min((row.start_s for row in rows), default=0.0)
        self._start_frame = min((row.start_frame for row in rows), default=0)
        seconds = max((row.end_s for row in rows), default=0.0) - self._start_s
        frames = max((row.end_frame + 1 for row in rows), default=0) - self._start_frame
        self._rate = frames / seconds if seconds else 0.0

    def frame(self, seconds: float) -> int:
        """Returns the number of the frame that is shown at a time, from 0."""
        return self._start_frame + round((seconds - self._start_s) * self._rate)
