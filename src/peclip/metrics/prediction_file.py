"""Prediction files: one video per row, with its true and predicted label.

The columns (csv) or keys (jsonl) are `source`, `target`, `label` and, for the calibration error, one
`prob_<label>` for every label of the model. Other columns are ignored. A file with `track_id` and `status`
contains rows from `peclip predict`, which `peclip.metrics.prediction_rows` reduces to one row per video.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from peclip.errors import ConfigError
from peclip.files import write_rows
from peclip.labels import canonical
from peclip.metrics.prediction_rows import reduce_rows, target_of
from peclip.metrics.prediction_table import PredictionTable
from peclip.results.row_cells import (
    check_same_columns,
    label_of,
    probabilities_of,
    probability_columns,
    text_of,
)
from peclip.text.records import Record, read_records

_REQUIRED = ("source", "target", "label")
_REQUIRED_OF_ROWS = ("source", "track_id", "status", "label")
_MARKS = {"track_id", "status"}
"""The columns that identify rows written by `peclip predict`."""


def read_predictions(path: str | Path, targets: Mapping[str, str] | None = None) -> PredictionTable:
    """Reads a prediction file, or the rows written by `peclip predict`.

    Args:
        path: a `.csv`, `.jsonl`, `.json` or `.parquet` file.
        targets: the true label of every source, if the file has no `target` column.

    Raises:
        ConfigError: the file cannot be read, is empty or not UTF-8, lacks a column, contains a video twice,
            or has an invalid row; the message states the line.
        MissingExtraError: it is a parquet file, and pyarrow is not installed.
    """
    path = Path(path)
    try:
        records = read_records(path, partial(_check_columns, has_targets=targets is not None))
        if not records:
            raise ConfigError("it is empty; expected one row per video")
        first = records[0][1]
        if targets is not None and "target" in first:
            raise ConfigError(
                "it has a target column, but targets were also passed separately; use only one "
                "of them"
            )
        if first.keys() >= _MARKS:
            return reduce_rows(records, targets)
        return _table(records, targets)
    except ConfigError as error:
        raise ConfigError(f"The prediction file {str(path)!r} cannot be scored: {error}.") from None


def read_targets(path: str | Path) -> dict[str, str]:
    """Reads a file with the columns `source` and `target`: the true label of every source.

    Raises:
        ConfigError: the file cannot be read, lacks a column, or names a source twice.
    """
    path = Path(path)
    targets = dict[str, str]()
    try:
        for record in read_records(path, partial(_check_required, required=("source", "target"))):
            source = text_of(record, "source")
            if source in targets:
                raise ConfigError(
                    f"{record[0]} repeats {source!r}; each source must appear only once"
                )
            targets[source] = label_of(record, "target")
    except ConfigError as error:
        raise ConfigError(f"The targets file {str(path)!r} cannot be read: {error}.") from None
    return targets


def read_subjects(path: str | Path) -> dict[str, str]:
    """Reads a file with the columns `source` and `subject`: the person in every video.

    Raises:
        ConfigError: the file cannot be read, lacks a column, or gives a source two subjects.
    """
    subjects = dict[str, str]()
    try:
        for record in read_records(
            Path(path), partial(_check_required, required=("source", "subject"))
        ):
            source, subject = text_of(record, "source"), text_of(record, "subject")
            if subjects.setdefault(source, subject) != subject:
                raise ConfigError(
                    f"{record[0]} gives {source!r} the subject {subject!r} after "
                    f"{subjects[source]!r}; each source must have one subject"
                )
    except ConfigError as error:
        raise ConfigError(f"The subjects file {str(path)!r} cannot be read: {error}.") from None
    return subjects


def prediction_paths(path: Path, folds: Sequence[int | None]) -> dict[int | None, Path]:
    """Returns the file of each fold: `a.csv`, and with several folds `a-fold-1.csv` and so on."""
    if len(folds) == 1:
        return {folds[0]: path}
    return {fold: path.with_name(f"{path.stem}-fold-{fold}{path.suffix}") for fold in folds}


def write_predictions(path: Path, table: PredictionTable) -> None:
    """Writes a table of at least one video as a `.csv` file that `read_predictions` reads.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        write_rows(path, list(table.rows()))
    except OSError as error:
        raise ConfigError(
            f"The predictions cannot be written to {str(path)!r}: {error.strerror}. Choose a file "
            "in an existing, writable folder."
        ) from None


def _check_columns(names: Iterable[str], place: str, *, has_targets: bool) -> None:
    names = list(names)
    if not set(names) >= _MARKS:
        required = [name for name in _REQUIRED if name != "target" or not has_targets]
        _check_required(names, place, required=required)
        return
    _check_required(names, place, required=_REQUIRED_OF_ROWS)
    if "target" not in names and not has_targets:
        raise ConfigError(
            "it contains rows written by `peclip predict`, which have no targets; add a target "
            "column, or pass a CSV file with the columns source and target: --targets FILE"
        )


def _check_required(names: Iterable[str], place: str, *, required: Sequence[str]) -> None:
    names = list(names)
    missing = [name for name in required if name not in names]
    if missing:
        found = ", ".join(map(repr, names)) or "no columns"
        raise ConfigError(
            f"{place} lacks {', '.join(missing)}; expected the columns {', '.join(required)}, "
            f"found {found}"
        )
    twice = next((name for name in (*required, "target") if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{place} has the column {twice!r} twice; column names must be unique")


def _table(records: Sequence[Record], targets: Mapping[str, str] | None) -> PredictionTable:
    """Makes the table of a file that has one row per video."""
    columns = probability_columns(records[0][1])
    labels, scores = list[str](), list[list[float]]()
    true = list[str]()
    places = dict[str, str]()
    for record in records:
        source = text_of(record, "source")
        true.append(canonical(target_of(record, source, targets)))
        label = label_of(record, "label", "; a video without a face also needs a label")
        check_same_columns(record, columns)
        labels.append(canonical(label))
        if columns:
            scores.append(list(probabilities_of(record, columns, label).values()))
        if source in places:
            windows = (
                " (the file has one row per window; combine the windows of each video first)"
                * ("window" in record[1])
            )
            raise ConfigError(
                f"{record[0]} repeats {source!r} from {places[source]}; expected one row per "
                f"video{windows}"
            )
        places[source] = record[0]
    probabilities = np.array(scores, np.float64) if columns else None
    return PredictionTable(tuple(places), tuple(true), tuple(labels), probabilities, tuple(columns))
