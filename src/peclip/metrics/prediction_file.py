"""Files of answers: one video per row, with its true label and what a model said.

The columns (csv) or keys (jsonl) are `source`, `target`, `label` and, for the calibration error, one
`prob_<label>` for every label of the model. Others are left alone.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peclip.errors import ConfigError
from peclip.labels import canonical

REQUIRED = ("source", "target", "label")
_PROB = "prob_"
_SUM_TOLERANCE = 0.01  # probabilities that were written with three decimals still pass
_ROUNDING = 1e-6

Record = tuple[int, Mapping[str, Any]]
"""Line number from 1, and the row."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said about one video. The names are canonical."""

    source: str
    target: str
    label: str
    confidence: float | None
    """Probability of `label`, 0 to 1, where the file gives probabilities."""
    line: int
    """Line in the file, from 1."""


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """The answers of one file, in its order."""

    path: Path
    answers: tuple[Answer, ...]
    labels: tuple[str, ...] | None
    """The labels of the model, in the order of the probability columns; `None` without them."""


def read_answers(path: str | Path) -> AnswerFile:
    """Reads a `.csv` or `.jsonl` file of answers.

    Raises:
        ConfigError: the file cannot be read, is empty or not UTF-8, lacks a column, names a video twice,
            or has a row that makes no sense; the message gives the line.
    """
    path = Path(path)
    readers = {".csv": _csv_records, ".jsonl": _json_records}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"The predictions {str(path)!r} are neither .csv nor .jsonl; give a file of one of these."
        )
    try:
        records = list(reader(_read_text(path)))
        if not records:
            raise ConfigError("it is empty; a row per video is expected")
        columns = _probability_columns(records[0][1])
        answers = tuple(_answer(line, row, columns) for line, row in records)
        _check_sources(answers, records[0][1])
    except ConfigError as error:
        raise ConfigError(f"The predictions {str(path)!r} cannot be scored: {error}.") from None
    return AnswerFile(path, answers, tuple(columns) or None)


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{error.strerror}; give a file that exists and can be read") from None
    try:
        return content.decode("utf-8-sig")  # Excel begins its csv files with a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"line {line} is not UTF-8; save the file as UTF-8") from None


def _csv_records(text: str) -> Iterator[Record]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip() for name in next((cells for cells in reader if cells), [])]
        if not header:
            return
        _check_columns(header)
        for cells in reader:
            if len(cells) == len(header):
                yield reader.line_num, dict(zip(header, cells, strict=True))
            elif cells:
                raise ConfigError(
                    f"line {reader.line_num} has {len(cells)} cells and the header {len(header)}; "
                    "write cells with a comma in them in quotes"
                )
    except csv.Error as error:
        raise ConfigError(f"line {reader.line_num} is not csv: {error}") from None


def _json_records(text: str) -> Iterator[Record]:
    # Not splitlines(): U+2028 and its like may stand inside a JSON string.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise ConfigError(f"line {line} is no JSON object; write one per line")
        _check_columns(row, line)
        yield line, row


def _check_columns(names: Iterable[str], line: int = 1) -> None:
    names = list(names)
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        found = ", ".join(map(repr, names)) or "none"
        raise ConfigError(
            f"line {line} lacks {', '.join(missing)}; the columns {', '.join(REQUIRED)} are "
            f"expected, found: {found}"
        )
    twice = next((name for name in REQUIRED if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"line {line} has the column {twice!r} twice; name each once")


def _probability_columns(row: Mapping[str, Any]) -> dict[str, str]:
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


def _answer(line: int, row: Mapping[str, Any], columns: Mapping[str, str]) -> Answer:
    for name in REQUIRED:
        if not isinstance(row[name], str) or not row[name].strip():
            hint = "; a video without a face needs an answer too" if name == "label" else ""
            raise ConfigError(
                f"line {line} has the {name} {row[name]!r} and a text is expected{hint}"
            )
    if _probability_columns(row) != columns:
        raise ConfigError(
            f"line {line} has other {_PROB} columns than the first row; give all in each"
        )
    label = canonical(row["label"])
    confidence = None
    if columns:
        scores = {name: _probability(line, row, column) for name, column in columns.items()}
        total = math.fsum(scores.values())
        if abs(total - 1) > _SUM_TOLERANCE:
            raise ConfigError(
                f"line {line} has probabilities that sum to {total:.6g}; they must sum to 1"
            )
        if label not in scores:
            raise ConfigError(
                f"line {line} has the label {row['label']!r} without a column {_PROB}{label}; give one "
                "for every label of the model"
            )
        confidence = scores[label]
    return Answer(row["source"].strip(), canonical(row["target"]), label, confidence, line)


def _probability(line: int, row: Mapping[str, Any], column: str) -> float:
    given = row.get(column)
    try:
        value = math.nan if given is None or isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not -_ROUNDING <= value <= 1 + _ROUNDING:  # a NaN fails as well
        raise ConfigError(
            f"line {line} has {given!r} in {column}; a number from 0 to 1 is expected"
        )
    return min(max(value, 0.0), 1.0)


def _check_sources(answers: Iterable[Answer], row: Mapping[str, Any]) -> None:
    first = dict[str, int]()
    for answer in answers:
        if answer.source in first:
            windows = " (it has windows; combine those of a video first)" if "window" in row else ""
            raise ConfigError(
                f"line {answer.line} names {answer.source!r} again after line {first[answer.source]}; "
                f"one row per video is expected{windows}"
            )
        first[answer.source] = answer.line
