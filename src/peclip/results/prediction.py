"""The prediction of one source: the rows of all people, and their aggregate.

This module does not import torch, so that reading and writing results stays light.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peclip.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from peclip.literals import Blur
    from peclip.results.frame_rows import FrameRow
    from peclip.results.overlay import Video
    from peclip.results.summary import Summary
    from peclip.video.face_log import FaceLog

from peclip.results.episodes import slot_of, slots_of
from peclip.results.rows import SCHEMA_VERSION, UNITS, Row, TrackSummary, rounded
from peclip.results.slots import Interval


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction of a model for one source."""

    source: str
    labels: tuple[str, ...]
    """In the order of the model's logits and of the probability columns."""
    rows: tuple[Row, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Model, device, precision, decoder, face detector and preprocessing used."""
    faces: FaceLog | None = field(default=None, repr=False, compare=False)
    """The faces in each frame, for `render` and `frame_rows`; `None` for live sources and rows read from files."""

    @property
    def tracks(self) -> dict[int, TrackSummary]:
        """The people of the source by their id, in the order of their appearance."""
        slots = slots_of(self.rows)
        by_track: dict[int, list[Row]] = {}
        for row in self.rows:
            if row.scores:
                by_track.setdefault(row.track_id, []).append(row)
        return {track: _summarise(track, rows, slots) for track, rows in sorted(by_track.items())}

    @property
    def main_track(self) -> TrackSummary | None:
        """The person seen for the longest time; at a tie, with the larger face."""
        tracks = self.tracks.values()
        return max(tracks, key=_presence) if tracks else None

    @property
    def scores(self) -> dict[str, float]:
        """Probability by label for the main person, the most likely first; empty without a face."""
        main = self.main_track
        return {} if main is None else dict(main.scores)

    @property
    def label(self) -> str | None:
        """The most likely label of the main person; `None` if no face was found or all windows are uncertain."""
        main = self.main_track
        return None if main is None else main.label

    @property
    def confidence(self) -> float | None:
        """Probability of `label`."""
        return None if self.label is None else next(iter(self.scores.values()))

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form that the command line writes."""
        return {
            "schema_version": SCHEMA_VERSION,
            "source": self.source,
            "label": self.label,
            "scores": {name: rounded(score, 6) for name, score in self.scores.items()},
            "labels": list(self.labels),
            "tracks": [
                {
                    "track_id": track.track_id,
                    "label": track.label,
                    "scores": {name: rounded(score, 6) for name, score in track.scores.items()},
                }
                for track in self.tracks.values()
            ],
            "units": UNITS,
            **_finite(self.metadata),
            "rows": [row.to_dict(self.labels) for row in self.rows],
        }

    def to_dataframe(self) -> pd.DataFrame:
        """Returns the rows as a pandas table.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("Prediction.to_dataframe()", "data") from None
        return pd.DataFrame([row.to_dict(self.labels) for row in self.rows])

    def save(self, path: str | Path) -> None:
        """Writes the rows, or the episodes, to a file in the format of its extension (`FORMATS`).

        Raises:
            ConfigError: the extension is unsupported, or the file cannot be written.
            MissingExtraError: the format needs an optional package.
        """
        from peclip.results.writers import format_of, open_writer

        with open_writer(format_of(Path(path)), Path(path), self.labels) as writer:
            for row in self.rows:
                writer.write_row(row)
            writer.end_source(self)

    def summary(self) -> Summary:
        """Returns each person's durations, proportions of time, mean probabilities and episodes, weighted by time."""
        from peclip.results.summary import summarise

        return summarise(self.rows, self.labels)

    def frame_rows(self) -> Iterator[FrameRow]:
        """Yields one row per frame and person, and one for each frame without people.

        Raises:
            ConfigError: the prediction has no faces per frame.
        """
        from peclip.results.frame_rows import frame_rows

        return frame_rows(self)

    def save_frames(self, path: str | Path) -> None:
        """Writes `frame_rows` to a `.csv`, `.jsonl` or `.parquet` file.

        Raises:
            ConfigError: the extension is unsupported, the file cannot be written, or the prediction has no
                faces per frame.
            MissingExtraError: parquet needs an optional package.
        """
        from peclip.results.frame_file import FrameFile

        with FrameFile(Path(path), self.labels) as file:
            file.write(self.frame_rows())

    def render(
        self,
        path: str | Path,
        *,
        video: Video | None = None,
        blur: Blur | None = None,
        on_frame: Callable[[float], None] | None = None,
    ) -> None:
        """Writes an MP4 video with boxes, ids, labels and probabilities, and the source's sound.

        Args:
            path: a `.mp4` file.
            video: the source, if it is pixels, or a file that has been moved.
            blur: whose faces to make unrecognisable: `"others"` (everyone but the main person) or `"all"`.
            on_frame: called with the time of each frame in seconds.

        Raises:
            ConfigError: an argument is unsupported, the file cannot be written, or the prediction has no
                faces per frame.
            VideoError: the source cannot be read.
        """
        from peclip.results.overlay import render_overlay

        render_overlay(self, path, video=video, blur=blur, on_frame=on_frame)

    def plot(self, *, video: Video | None = None, pictures: bool = True) -> Figure:
        """Draws when each person shows which expression, one lane per person.

        Args:
            video: the source, if it is pixels, or a file that has been moved.
            pictures: show the faces, if the video can be read; otherwise silhouettes.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from peclip.results.face_pictures import portraits
        from peclip.results.timeline import plot_timeline

        return plot_timeline(self, pictures=portraits(self, video=video) if pictures else None)

    def save_report(
        self, path: str | Path, *, video: Video | None = None, pictures: bool = True
    ) -> None:
        """Writes an HTML page with the summary, the timeline, expression peaks and the settings.

        Args:
            path: a `.html` file.
            video: the source, if it is pixels, or a file that has been moved.
            pictures: show the faces, if the video can be read.

        Raises:
            ConfigError: the file cannot be written, or its extension is unsupported.
            MissingExtraError: matplotlib is not installed.
        """
        from peclip.results.report import Report

        report = Report(Path(path), pictures=pictures)
        report.end_source(self, video=video)
        report.close()

    def __repr__(self) -> str:
        best = f", {self.label!r} ({self.confidence:.2f})" if self.confidence is not None else ""
        people, rows = len(self.tracks), len(self.rows)
        who = f"{people} {'person' if people == 1 else 'people'}"
        if -1 in self.tracks:
            who = "whole frame"
        counts = f"{who}, {rows} {'row' if rows == 1 else 'rows'}"
        return f"Prediction({self.source!r}: {counts}{best})"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: a table of people, and the timeline with matplotlib."""
        from peclip.results.notebook import notebook_html

        return notebook_html(self)


def _summarise(track: int, rows: list[Row], slots: Mapping[Interval, Interval]) -> TrackSummary:
    # Low-quality windows count only if there are no better ones.
    good = [row for row in rows if row.status != "low_quality"] or rows
    weights = [end - start for start, end in (slot_of(row, slots) for row in good)]
    total = math.fsum(weights)
    if not total > 0:  # a still image, or rows without times, which are NaN
        weights, total = [1.0] * len(good), float(len(good))
    mean = {
        name: math.fsum(w * row.scores[name] for w, row in zip(weights, good, strict=True)) / total
        for name in good[0].scores
    }
    ordered = dict(sorted(mean.items(), key=lambda item: -item[1]))
    uncertain = all(row.label is None for row in good)
    return TrackSummary(track, None if uncertain else next(iter(ordered)), ordered, tuple(rows))


def _presence(track: TrackSummary) -> tuple[int, float, float]:
    good = sum(row.status != "low_quality" for row in track.rows)
    seen = math.fsum(row.face_coverage for row in track.rows)
    area = max((row.box[2] * row.box[3] for row in track.rows if row.box), default=0.0)
    return good, round(seen, 6), area


def _finite(value: Any) -> Any:
    """Returns a JSON value with null for infinite numbers, which JSON lacks."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
