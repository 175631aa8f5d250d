"""Reduces the rows of `peclip predict`, one per person and window, to one row per video.

The rule is the same as for `peclip.results.prediction.Prediction.label`: the mean of the probabilities, weighted by
time, over the windows with status ok or uncertain of the person who is visible longest. Windows of low quality count where
that person has no other. A video without a face, or with uncertain windows only, has no prediction, and is excluded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from peclip.errors import ConfigError
from peclip.labels import canonical
from peclip.metrics.prediction_table import PredictionTable
from peclip.results.prediction import Prediction
from peclip.results.row_cells import label_of, probability_columns
from peclip.results.row_file import row_of
from peclip.results.rows import Row, TrackSummary
from peclip.text.records import Record


def reduce_rows(records: Sequence[Record], targets: Mapping[str, str] | None) -> PredictionTable:
    """Returns one prediction per source, with a note that states the rule and what was excluded.

    Args:
        records: at least one; with source, track_id, status, label and `prob_<label>`.
        targets: the true label of every source, if the records have none.

    Raises:
        ConfigError: a record is invalid, a source has no target or more than one, or no one is detected in any video.
    """
    columns = probability_columns(records[0][1])
    if not columns:
        raise ConfigError(
            "it contains rows written by `peclip predict` but no probabilities; include the "
            "columns prob_<label>"
        )
    rows, true = dict[str, list[Row]](), dict[str, str]()
    places = dict[tuple[str, int, int], str]()
    for record in records:
        place, cells = record
        row = row_of(record, columns)
        target = canonical(target_of(record, row.source, targets))
        if true.setdefault(row.source, target) != target:
            raise ConfigError(
                f"{place} has the target {target!r} for {row.source!r}, but an earlier row has "
                f"{true[row.source]!r}; each video must have exactly one target"
            )
        key = (row.source, row.track_id, row.window)
        if "window" in cells and places.setdefault(key, place) != place:
            raise ConfigError(
                f"{place} repeats person {row.track_id} of {row.source!r} in window {row.window} "
                f"from {places[key]}; each row must appear only once, and all rows must be from "
                "the same model"
            )
        rows.setdefault(row.source, []).append(row)
    return _table(rows, true, tuple(columns))


def target_of(record: Record, source: str, targets: Mapping[str, str] | None) -> str:
    """Returns the true label of a record: from the record itself, or from the separate targets."""
    if targets is None:
        return label_of(record, "target")
    if source not in targets:
        raise ConfigError(
            f"{record[0]} has the source {source!r}, which is missing from the targets; they must "
            "contain every source, spelled exactly as in the predictions"
        )
    return targets[source]


def _table(
    rows: Mapping[str, Sequence[Row]], true: Mapping[str, str], classes: tuple[str, ...]
) -> PredictionTable:
    main = dict[str, TrackSummary]()
    persons = 0
    for source, windows in rows.items():
        prediction = Prediction(source, classes, tuple(windows))
        track = prediction.main_track
        if track is not None and track.label is not None:
            main[source] = track
            persons += len(prediction.tracks) - 1
    if not main:
        raise ConfigError(
            f"none of the windows of its {len(rows)} videos has a label: no face was found, or "
            "the videos could not be read"
        )
    scores = [[track.scores[name] for name in classes] for track in main.values()]
    return PredictionTable(
        tuple(main),
        tuple(true[source] for source in main),
        tuple(str(track.label) for track in main.values()),
        np.array(scores, np.float64),
        classes,
        (_note(rows, list(main.values()), persons),),
    )


def _note(rows: Mapping[str, Sequence[Row]], tracks: Sequence[TrackSummary], persons: int) -> str:
    """Returns the sentence about the reduction."""
    good = [sum(row.status != "low_quality" for row in track.rows) for track in tracks]
    poor = sum(not count for count in good)
    used = sum(count or len(track.rows) for count, track in zip(good, tracks, strict=True))
    total = sum(map(len, rows.values()))
    without = len(rows) - len(tracks)
    uncertain = any(row.status == "uncertain" for track in tracks for row in track.rows)
    kinds = "ok and uncertain" if uncertain else "ok"
    fallback = (
        f" (videos without such a window, averaged over low_quality ones: {poor})" if poor else ""
    )
    return (
        f"reduced {total} rows to {len(tracks)} videos, using the mean over the {kinds} windows "
        f"of the person visible the longest{fallback}; excluded rows: {total - used}, other "
        f"people: {persons}, videos without a prediction: {without}"
    )
