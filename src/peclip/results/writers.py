"""Row files: csv, jsonl, json and parquet. Streaming formats write each row immediately."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Protocol, cast, get_args

from peclip.errors import ConfigError, MissingExtraError, UserError
from peclip.literals import RowFormat
from peclip.results.interface import SourceResult
from peclip.results.rows import Row

STDOUT = Path("-")

_COLUMNS = [
    *("source", "model", "model_revision", "schema_version", "track_id", "window"),
    *("start_s", "end_s", "mid_s", "start_frame", "end_frame", "num_frames_used", "n_faces"),
    *("status", "label", "score", "face_conf", "face_coverage", "x", "y", "w", "h"),
]


class RowWriter(Protocol):
    """Receives rows as they are computed, and the end of each source."""

    def write_row(self, row: Row) -> None:
        """Writes one row; streaming formats flush it immediately."""
        ...

    def end_source(self, prediction: SourceResult) -> None:
        """Receives the complete source after its rows, for formats that need it."""
        ...

    def close(self) -> None:
        """Completes the file."""
        ...


class CsvWriter:
    """A header, then one line per row."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream, self._labels = stream, labels
        names = [*_COLUMNS, *(f"prob_{name}" for name in labels)]
        self._writer = csv.DictWriter(stream, names, lineterminator="\n")
        self._writer.writeheader()
        stream.flush()

    def write_row(self, row: Row) -> None:
        """Writes one line."""
        self._writer.writerow(row.to_dict(self._labels))
        self._stream.flush()

    def end_source(self, prediction: SourceResult) -> None:
        """Does nothing: the lines are already written."""

    def close(self) -> None:
        """Does nothing: the file is complete."""


class JsonLinesWriter:
    """One JSON object per row and line."""

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream, self._labels = stream, labels

    def write_row(self, row: Row) -> None:
        """Writes one line."""
        print(json.dumps(row.to_dict(self._labels)), file=self._stream, flush=True)

    def end_source(self, prediction: SourceResult) -> None:
        """Does nothing: the lines are already written."""

    def close(self) -> None:
        """Does nothing: the file is complete."""


class JsonWriter:
    """One document: `Prediction.to_dict()` of one source, or a list of them for several.

    Each source is written when it is complete; the brackets of the list come with the second source.
    """

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self._stream = stream
        self._first: str | None = None
        self._count = 0

    def write_row(self, row: Row) -> None:
        """Does nothing: a document needs the whole source, see `end_source`."""

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the document of one source."""
        document = json.dumps(prediction.to_dict(), indent=2)
        self._count += 1
        if self._count == 1:
            self._first = document
            return
        if self._first is not None:
            self._stream.write("[\n" + self._first)
            self._first = None
        self._stream.write(",\n" + document)
        self._stream.flush()

    def close(self) -> None:
        """Writes pending output, and closes the list."""
        if self._first is not None:
            self._stream.write(self._first + "\n")
        elif self._count:
            self._stream.write("\n]\n")
        else:
            self._stream.write("[]\n")
        self._stream.flush()


class ParquetWriter:
    """One row group per source."""

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise MissingExtraError("Writing parquet", "data") from None
        text, whole, real = pa.string(), pa.int64(), pa.float64()
        kinds = dict.fromkeys(("source", "model", "model_revision", "schema_version"), text)
        kinds |= {"status": text, "label": text}
        counts = ("track_id", "window", "start_frame", "end_frame", "num_frames_used", "n_faces")
        kinds |= dict.fromkeys(counts, whole)
        names = [*_COLUMNS, *(f"prob_{name}" for name in labels)]
        self._schema = pa.schema([(name, kinds.get(name, real)) for name in names])
        self._table = pa.Table
        self._labels = labels
        self._writer = pq.ParquetWriter(str(path), self._schema)

    def write_row(self, row: Row) -> None:
        """Does nothing: a row group is a source, see `end_source`."""

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the rows of one source."""
        rows = [row.to_dict(self._labels) for row in prediction.rows]
        for row in rows:  # a name that is not UTF-8 contains surrogates, which Arrow rejects
            row["source"] = row["source"].encode("utf-8", "backslashreplace").decode("utf-8")
        self._writer.write_table(self._table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        """Writes the footer."""
        self._writer.close()


_STREAMS: dict[str, Any] = {"csv": CsvWriter, "jsonl": JsonLinesWriter, "json": JsonWriter}
BY_LINE = frozenset({"csv", "jsonl"})
"""Formats written row by row; the others are written per source."""

FORMATS: tuple[str, ...] = get_args(RowFormat)


def format_of(path: Path) -> str:
    """Returns the format of a file extension.

    Raises:
        ConfigError: the extension is unsupported.
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise ConfigError(
            f"Cannot infer the format of {path.name!r} from its extension; use {', '.join(FORMATS)}, or give "
            "the format with -f."
        )
    return ending


def check_format(form: str, path: Path) -> None:
    """Checks that a format can be written, before anything is computed.

    Raises:
        ConfigError: the format is unknown, or cannot be written to standard output.
        MissingExtraError: the format needs an optional package.
    """
    if form not in FORMATS:
        raise ConfigError(f"Unknown format {form!r}; choose one of {', '.join(FORMATS)}.")
    if form != "parquet":
        return
    if path == STDOUT:
        raise ConfigError("Parquet cannot be written to standard output; give a file with -o.")
    if sys.modules.get("pyarrow", find_spec) is None or find_spec("pyarrow") is None:
        raise MissingExtraError("Writing parquet", "data")


@contextmanager
def open_writer(
    form: str, path: Path, labels: Sequence[str], *, append: bool = False
) -> Iterator[RowWriter]:
    """Opens a writer of a format on a file, or on standard output for `-`.

    `append` adds to existing rows, which only JSON Lines supports.

    Raises:
        ConfigError: the format is unknown, or the file cannot be written.
        MissingExtraError: the format needs an optional package.
    """
    check_format(form, path)
    with ExitStack() as stack:
        with _writing(path):
            writer = _Checked(_new_writer(form, path, labels, stack, "a" if append else "w"), path)
        stack.callback(writer.close)
        yield writer


class _Checked:
    """Names the file in an error when writing fails: the disk is full or unavailable."""

    def __init__(self, writer: RowWriter, path: Path) -> None:
        self._writer, self._path = writer, path

    def write_row(self, row: Row) -> None:
        with _writing(self._path):
            self._writer.write_row(row)

    def end_source(self, prediction: SourceResult) -> None:
        with _writing(self._path):
            self._writer.end_source(prediction)

    def close(self) -> None:
        with _writing(self._path):
            self._writer.close()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, UserError):  # MissingExtraError is both
        raise
    except OSError as error:
        raise ConfigError(
            f"The output {str(path)!r} cannot be written: {error.strerror or error}. Give a file in an "
            "existing, writable folder."
        ) from None


def _new_writer(
    form: str, path: Path, labels: Sequence[str], stack: ExitStack, mode: str
) -> RowWriter:
    if form == "parquet":
        return ParquetWriter(path, labels)
    if path == STDOUT:
        return cast(RowWriter, _STREAMS[form](sys.stdout, labels))
    stream: IO[str] = path.open(mode, encoding="utf-8", errors="backslashreplace", newline="")
    stack.callback(_close, stream, path)
    return cast(RowWriter, _STREAMS[form](stream, labels))


def _close(stream: IO[str], path: Path) -> None:
    with _writing(path):
        stream.close()
