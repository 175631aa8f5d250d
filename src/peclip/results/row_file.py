"""Reads row files written by `peclip predict -o`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from peclip.errors import ConfigError
from peclip.labels import canonical
from peclip.results.prediction import Prediction
from peclip.results.row_cells import (
    check_same_columns,
    label_of,
    number,
    probabilities_of,
    probability_columns,
    text_of,
)
from peclip.results.rows import Row, Status
from peclip.text.records import Record, read_records

_REQUIRED = ("source", "track_id", "start_s", "end_s", "status", "label")
_WITHOUT_SCORES = ("no_face", "decode_error")
_LABELLED = ("ok", "low_quality")


@dataclass(frozen=True, slots=True)
class RowFile:
    """The rows of one or more files."""

    labels: tuple[str, ...]
    """The labels, in the order of the probability columns."""
    rows: tuple[Row, ...]

    def predictions(self) -> Iterator[Prediction]:
        """Yields one prediction per source, in the order of their first rows; without metadata."""
        by_source = dict[str, list[Row]]()
        for row in self.rows:
            by_source.setdefault(row.source, []).append(row)
        for source, rows in by_source.items():
            yield Prediction(source, self.labels, tuple(rows))


def read_rows(paths: Sequence[str | Path]) -> RowFile:
    """Reads and combines files written by `peclip predict -o`, such as those of several shards.

    Args:
        paths: at least one `.csv`, `.jsonl`, `.json` or `.parquet` file, all with the same labels.

    Raises:
        ConfigError: a file cannot be read, contains no rows, lacks a column, has an invalid row, or has a
            duplicate row; the message states the line.
        MissingExtraError: it is a parquet file, and pyarrow is not installed.
    """
    columns = dict[str, str]()
    rows = dict[tuple[str, int, float, float, str], Row]()
    places = dict[tuple[str, int, float, float, str], str]()
    for path in map(Path, paths):
        try:
            records = read_records(path, _check_columns)
            columns = columns or _columns(records)  # a shard may have no rows
            for record in records:
                row = _timed(record, columns)
                key = (row.source, row.track_id, row.start_s, row.end_s, row.status)
                if key in rows:
                    raise ConfigError(
                        f"{record[0]} repeats person {row.track_id} of {row.source!r} from "
                        f"{row.start_s:g} s to {row.end_s:g} s ({places[key]}); each row must "
                        "occur only once, and all rows must be from the same model"
                    )
                rows[key], places[key] = row, f"{path.name}, {record[0]}"
        except ConfigError as error:
            raise ConfigError(f"The row file {str(path)!r} cannot be read: {error}.") from None
    if not rows:
        raise ConfigError(
            f"The row files {', '.join(map(str, paths))} contain no rows; use files written by "
            "`peclip predict -o`."
        )
    return RowFile(tuple(columns), tuple(rows.values()))


def row_of(record: Record, columns: Mapping[str, str]) -> Row:
    """Returns the row for a record with source, track_id, status, label and `prob_<label>`.

    Other columns may be missing: times are then NaN, and frame counts and the window number are 0.

    Args:
        record: the cells and their place in the file.
        columns: the probability columns, by label.

    Raises:
        ConfigError: a cell is invalid.
    """
    place, cells = record
    check_same_columns(record, columns)
    status = text_of(record, "status")
    if status not in get_args(Status):
        raise ConfigError(
            f"{place} has the status {status!r}; expected one of {', '.join(get_args(Status))}"
        )
    label, scores = _scores(record, columns, status)
    coverage, conf = number(cells.get("face_coverage")), number(cells.get("face_conf"))
    x, y, w, h = (number(cells.get(name)) for name in "xywh")
    origin = (x, y) if math.isfinite(x) and math.isfinite(y) else (0.0, 0.0)
    unlike = cells.get("unlike_training")
    return Row(
        source=text_of(record, "source"),
        model=str(cells.get("model") or ""),
        model_revision=str(cells.get("model_revision") or ""),
        track_id=_whole(record, "track_id"),
        window=_whole(record, "window") if "window" in cells else 0,
        start_s=number(cells.get("start_s")),
        end_s=number(cells.get("end_s")),
        start_frame=_count(record, "start_frame"),
        end_frame=_count(record, "end_frame"),
        num_frames_used=_count(record, "num_frames_used"),
        n_faces=_count(record, "n_faces"),
        status=cast(Status, status),
        label=label,
        score=None if label is None else scores[label],
        scores=scores,
        face_conf=conf if math.isfinite(conf) else None,
        face_coverage=coverage if math.isfinite(coverage) else 0.0,
        box=(*origin, w, h) if math.isfinite(w) and math.isfinite(h) else None,
        sharpness=_optional(cells.get("sharpness")),
        brightness=_optional(cells.get("brightness")),
        yaw=_optional(cells.get("yaw")),
        roll=_optional(cells.get("roll")),
        unlike_training=tuple(str(unlike).split()) if unlike else None,
    )


def _optional(cell: object) -> float | None:
    value = number(cell)
    return value if math.isfinite(value) else None


def _scores(
    record: Record, columns: Mapping[str, str], status: str
) -> tuple[str | None, dict[str, float]]:
    if status in _WITHOUT_SCORES:
        return None, {}
    cells = record[1]
    if status not in _LABELLED and not cells["label"]:
        # A window without a label still has probabilities.
        likeliest = max(columns, key=lambda name: number(cells[columns[name]]))
        return None, probabilities_of(record, columns, likeliest)
    label = label_of(record, "label")
    scores = probabilities_of(record, columns, label)
    return label if label in scores else canonical(label), scores


def _whole(record: Record, name: str) -> int:
    place, cells = record
    value = number(cells[name])
    if not value.is_integer():  # nor are NaN and infinite numbers
        raise ConfigError(f"{place} has {cells[name]!r} in {name}; expected a whole number")
    return int(value)


def _count(record: Record, name: str) -> int:
    value = number(record[1].get(name))
    return int(value) if value.is_integer() else 0


def _timed(record: Record, columns: Mapping[str, str]) -> Row:
    row = row_of(record, columns)
    if not (math.isfinite(row.end_s - row.start_s) and row.start_s <= row.end_s):
        place, cells = record
        raise ConfigError(
            f"{place} lasts from {cells['start_s']!r} to {cells['end_s']!r}; expected a "
            "window's start_s and end_s in seconds, in ascending order"
        )
    return row


def _columns(records: Sequence[Record]) -> dict[str, str]:
    if not records:
        return {}
    columns = probability_columns(records[0][1], str.strip)
    if not columns:
        raise ConfigError("it contains no probabilities; include the columns prob_<label>")
    return columns


def _check_columns(names: Iterable[str], place: str) -> None:
    names = list(names)
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        found = ", ".join(map(repr, names)) or "no columns"
        raise ConfigError(
            f"{place} lacks {', '.join(missing)}; expected the rows that `peclip predict -o` "
            f"writes, found {found}"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{place} has the column {twice!r} twice; column names must be unique")
