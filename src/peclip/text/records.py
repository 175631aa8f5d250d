"""Records of csv, jsonl, json and parquet files, each with its place in the file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peclip.errors import ConfigError, MissingExtraError, first_line
from peclip.text.parsing import NotJSONError, parse_json

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

_MAX_PARQUET_CELLS = 100_000_000

_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
"""Of csv files, by preference; Excel writes semicolons in countries with decimal commas."""

Record = tuple[str, Mapping[str, Any]]
"""The position of a record in the file, such as `line 3`, and its cells by column."""

CheckColumns = Callable[[Iterable[str], str], None]
"""Called with columns and their place in the file; raises if they are not the expected ones."""


def read_records(
    path: Path,
    check_columns: CheckColumns = lambda names, place: None,
    *,
    kind: str | None = None,
    lowercase: bool = False,
    ragged: bool = False,
) -> list[Record]:
    """Reads all records of a csv, jsonl, json or parquet file in UTF-8.

    The cells of a csv are separated by commas, semicolons or tabs, whichever divides the header into the most columns.
    A json file is what `peclip predict` writes: a document with `rows`, or a list of such documents.

    Args:
        path: the file.
        check_columns: called with the header of a csv, and with the keys of each record of another file.
        kind: `.csv`, `.jsonl`, `.json` or `.parquet`; by default the ending of the file.
        lowercase: the header of a csv may have capitals; its columns get lower-case names.
        ragged: cells missing at the end of a row of a csv are empty and surplus ones are ignored;
            otherwise both are errors.

    Returns:
        The records; none if the file has only a header, or no line that is not blank.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8 or of another kind; the message, which names
            the line but not the file, has no full stop.
        MissingExtraError: it is a parquet file, and pyarrow is not installed.
    """
    readers: dict[str, Callable[[bytes, CheckColumns], Iterator[Record]]] = {
        ".csv": partial(_csv_records, lowercase=lowercase, ragged=ragged),
        ".jsonl": _line_records,
        ".json": _document_records,
        ".parquet": _parquet_records,
    }
    kind = path.suffix.lower() if kind is None else kind
    if kind not in readers:
        raise ConfigError(f"the file extension must be one of {', '.join(readers)}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{error.strerror}; choose an existing, readable file") from None
    return list(readers[kind](content, check_columns))


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")  # Excel begins its csv files with a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"line {line} is not UTF-8; save the file as UTF-8") from None


def _csv_records(
    content: bytes, check_columns: CheckColumns, *, lowercase: bool, ragged: bool
) -> Iterator[Record]:
    text = _decoded(content)
    separator = max(_SEPARATORS, key=lambda mark: len(_first_cells(_csv_reader(text, mark))))
    reader = _csv_reader(text, separator)
    try:
        header = [name.strip() for name in next((cells for cells in reader if cells), [])]
        if not header:
            raise ConfigError("it is empty; expected a header and one line per row")
        header = [name.lower() for name in header] if lowercase else header
        check_columns(header, "line 1")
        for cells in reader:
            if ragged and cells:
                cells = [*cells, *[""] * len(header)][: len(header)]
            if len(cells) == len(header):
                yield f"line {reader.line_num}", dict(zip(header, cells, strict=True))
            elif cells:
                raise ConfigError(
                    f"line {reader.line_num} has {len(cells)} cells, but the header has "
                    f"{len(header)}; quote cells that contain {_SEPARATORS[separator]}"
                )
    except csv.Error as error:
        raise ConfigError(f"line {reader.line_num} is not valid CSV: {error}") from None


def _csv_reader(text: str, separator: str) -> CsvReader:
    return csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)


def _first_cells(reader: CsvReader) -> list[str]:
    """Returns the cells of the header; none if it is invalid with this separator."""
    try:
        return next((cells for cells in reader if cells), [])
    except csv.Error:
        return []


def _line_records(content: bytes, check_columns: CheckColumns) -> Iterator[Record]:
    # Not splitlines(): U+2028 and its like may stand inside a JSON string.
    for line, text in enumerate(_decoded(content).split("\n"), start=1):
        if text.strip():
            row = _json(text, f"line {line}")
            if not isinstance(row, dict):
                raise ConfigError(f"line {line} is not a JSON object; expected one object per line")
            check_columns(row, f"line {line}")
            yield f"line {line}", row


def _document_records(content: bytes, check_columns: CheckColumns) -> Iterator[Record]:
    document = _json(_decoded(content), "it")
    documents = document if isinstance(document, list) else [document]
    rows = [row for part in documents for row in _rows_of(part)]
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ConfigError(f"row {place} is not a JSON object")
        check_columns(row, f"row {place}")
        yield f"row {place}", row


def _json(text: str, place: str) -> Any:
    """Returns the value of a JSON text, `None` if it is not JSON: both callers expect an object or a list."""
    try:
        return parse_json(text)
    except NotJSONError:
        return None
    except ConfigError as error:
        raise ConfigError(f"{place} {error}") from None


def _rows_of(document: Any) -> list[Any]:
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise ConfigError(
            "expected a JSON document written by peclip predict (with rows), or a list of such "
            "documents; use one of these, or a .jsonl file with one JSON object per line"
        )
    return rows


def _parquet_records(content: bytes, check_columns: CheckColumns) -> Iterator[Record]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("Reading parquet", "data") from None
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        cells = file.metadata.num_rows * file.metadata.num_columns
        if cells > _MAX_PARQUET_CELLS:  # a column of equal values takes a few bytes
            raise ConfigError(
                f"it has {cells:,} cells; at most {_MAX_PARQUET_CELLS:,} are supported"
            )
        rows = file.read().to_pylist()
    except ConfigError:
        raise
    except (
        Exception
    ) as error:  # besides pyarrow's own, whatever Python raises at an impossible date
        raise ConfigError(f"it is not a valid Parquet file: {first_line(error)}") from None
    for place, row in enumerate(rows, 1):
        check_columns(row, f"row {place}")
        yield f"row {place}", row
