"""Records of a file, csv, jsonl, json or parquet, and the cells of predictions in them.

A json file is what `peclip predict` writes: a document with `rows`, or a list of such documents.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from peclip.errors import ConfigError, MissingExtraError
from peclip.labels import canonical

_PROB = "prob_"
_SUM_TOLERANCE = 0.01  # probabilities that were written with three decimals still pass
_ROUNDING = 1e-6

Record = tuple[str, Mapping[str, Any]]
"""Where it is in the file, such as `line 3`, and its cells by column."""

CheckColumns = Callable[[Iterable[str], str], None]
"""Raises a ConfigError where columns, at a place of the file, are not those that are expected."""


def read_records(path: Path, check_columns: CheckColumns) -> list[Record]:
    """Reads all records of a file; the ending says its format.

    Raises:
        ConfigError: the file cannot be read, is empty, not UTF-8 or of another format.
        MissingExtraError: it is a parquet file, and pyarrow is not installed.
    """
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise ConfigError(f"the ending must be one of {', '.join(_READERS)}")
    records = list(_READERS[ending](_read(path), check_columns))
    if not records:
        raise ConfigError("it is empty; a row per video is expected")
    return records


def text_of(record: Record, name: str, hint: str = "") -> str:
    """Returns a cell that must hold a text."""
    place, row = record
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{place} has the {name} {value!r} and a text is expected{hint}")
    return value.strip()


def target_of(record: Record, source: str, targets: Mapping[str, str] | None) -> str:
    """Returns the true label of a record: its own, or the one that is given for its source."""
    if targets is None:
        return text_of(record, "target")
    if source not in targets:
        raise ConfigError(
            f"{record[0]} has the source {source!r}, for which no target was given; give one for every source, "
            "spelt as in the predictions"
        )
    return targets[source]


def probability_columns(row: Mapping[str, Any]) -> dict[str, str]:
    """Returns the columns of probabilities by canonical label."""
    columns = dict[str, str]()
    for name in row:
        if name.startswith(_PROB):
            label = canonical(name.removeprefix(_PROB))
            if label in columns:
                raise ConfigError(
                    f"the columns {columns[label]!r} and {name!r} are of the same label; keep one"
                )
            columns[label] = name
    return columns


def check_same_columns(record: Record, columns: Mapping[str, str]) -> None:
    """Raises a ConfigError where a record has other columns of probabilities than the first one."""
    place, row = record
    if probability_columns(row) != columns:
        raise ConfigError(f"{place} has other {_PROB} columns than the first row; give all in each")


def probabilities_of(record: Record, columns: Mapping[str, str], label: str) -> dict[str, float]:
    """Returns the probabilities of a record by canonical label, 0 to 1.

    Args:
        record: a row of predictions.
        columns: by canonical label.
        label: as the record spells it; one of those of the columns.
    """
    place, row = record
    scores = {name: _probability(place, row, column) for name, column in columns.items()}
    total = math.fsum(scores.values())
    if abs(total - 1) > _SUM_TOLERANCE:
        raise ConfigError(f"{place} has probabilities that sum to {total:.6g}; they must sum to 1")
    if canonical(label) not in scores:
        raise ConfigError(
            f"{place} has the label {label!r} without a column {_PROB}{canonical(label)}; give one "
            "for every label of the model"
        )
    return scores


def _probability(place: str, row: Mapping[str, Any], column: str) -> float:
    given = row.get(column)
    value = number(given)
    if not -_ROUNDING <= value <= 1 + _ROUNDING:  # a NaN fails as well
        raise ConfigError(f"{place} has {given!r} in {column}; a number from 0 to 1 is expected")
    return min(max(value, 0.0), 1.0)


def number(given: Any) -> float:
    """Returns a cell as a number, NaN where it holds none."""
    try:
        return math.nan if given is None or isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{error.strerror}; give a file that exists and can be read") from None


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")  # Excel begins its csv files with a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"line {line} is not UTF-8; save the file as UTF-8") from None


def _csv_records(content: bytes, check_columns: CheckColumns) -> Iterator[Record]:
    reader = csv.reader(io.StringIO(_decoded(content), newline=""))
    try:
        header = [name.strip() for name in next((cells for cells in reader if cells), [])]
        if not header:
            return
        check_columns(header, "line 1")
        for cells in reader:
            if len(cells) == len(header):
                yield f"line {reader.line_num}", dict(zip(header, cells, strict=True))
            elif cells:
                raise ConfigError(
                    f"line {reader.line_num} has {len(cells)} cells and the header {len(header)}; "
                    "write cells with a comma in them in quotes"
                )
    except csv.Error as error:
        raise ConfigError(f"line {reader.line_num} is not csv: {error}") from None


def _line_records(content: bytes, check_columns: CheckColumns) -> Iterator[Record]:
    # Not splitlines(): U+2028 and its like may stand inside a JSON string.
    for line, text in enumerate(_decoded(content).split("\n"), start=1):
        if text.strip():
            row = _parsed(text)
            if not isinstance(row, dict):
                raise ConfigError(f"line {line} is not a JSON object; write one per line")
            check_columns(row, f"line {line}")
            yield f"line {line}", row


def _document_records(content: bytes, check_columns: CheckColumns) -> Iterator[Record]:
    document = _parsed(_decoded(content))
    documents = document if isinstance(document, list) else [document]
    rows = [row for part in documents for row in _rows_of(part)]
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ConfigError(f"row {place} is not a JSON object")
        check_columns(row, f"row {place}")
        yield f"row {place}", row


def _rows_of(document: Any) -> list[Any]:
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise ConfigError(
            "it is not a document of peclip predict, which has rows, or a list of such documents; give one "
            "of these, or one JSON object per line in a .jsonl file"
        )
    return rows


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parquet_records(content: bytes, check_columns: CheckColumns) -> Iterator[Record]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("Reading parquet", "data") from None
    try:
        rows = pq.read_table(pa.BufferReader(content)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"it is not a parquet file that can be read: {reason}") from None
    for place, row in enumerate(rows, 1):
        check_columns(row, f"row {place}")
        yield f"row {place}", row


_READERS = {
    ".csv": _csv_records,
    ".jsonl": _line_records,
    ".json": _document_records,
    ".parquet": _parquet_records,
}
"""Readers of the bytes of a file by its ending."""
