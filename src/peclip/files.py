"""Files: written atomically, so that each is complete or absent, and read record by record."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peclip.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from filelock import BaseFileLock

SUFFIX = ".part"
LOCK = ".lock"
"""Follows the name of a locked file, and is the name of the lock file in a locked folder."""

Record = tuple[str, Mapping[str, Any]]
"""The position of a record in the file, such as `line 3`, and its cells by column."""

CheckColumns = Callable[[Iterable[str], str], None]
"""Called with columns and their place in the file; raises if they are not the expected ones."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a hidden temporary path; when the block ends, the file there replaces `path`.

    If the block fails, the temporary file is removed, and `path` is unchanged.

    Raises:
        OSError: the file cannot be moved to `path`.
    """
    partial = path.with_name(f".{path.name}{SUFFIX}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as a CSV file with the columns of the first one; missing cells are left empty.

    Raises:
        OSError: it cannot be written.
        ValueError: a later row has other columns.
    """
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def locked(*outputs: Path | None) -> Iterator[None]:
    """Locks outputs against other processes while the block runs; see `lock`.

    `None`, standard output (`-`), pipes and devices are not locked.

    Raises:
        ConfigError: another process is writing one of them, or a lock file cannot be written.
    """
    chosen = {os.path.realpath(path): path for path in outputs if path is not None}
    with ExitStack() as stack:
        for path in chosen.values():
            if str(path) != "-" and (path.is_dir() or path.is_file() or not path.exists()):
                stack.callback(unlock, lock(path))
        yield


def lock(output: Path) -> BaseFileLock:
    """Locks an output against other processes: a file, or a folder that exists; see `unlock`.

    The lock is the operating system's, on `OUTPUT.lock`, or `.lock` in a folder, so it ends with the process.

    Raises:
        ConfigError: another process is writing the output, or the lock file cannot be written.
    """
    from filelock import FileLock, Timeout  # slow to import, and few commands lock

    place = output / LOCK if output.is_dir() else Path(f"{os.path.realpath(output)}{LOCK}")
    held = FileLock(place)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"Another run is writing to {str(output)!r}. Wait until that run has finished, or write "
            "to another output."
        ) from None
    except (OSError, NotImplementedError) as error:
        raise ConfigError(
            f"{place} cannot be written: {getattr(error, 'strerror', None) or error}. Choose an "
            "output in a writable folder."
        ) from None
    return held


def unlock(held: BaseFileLock) -> None:
    """Releases a lock, once: afterwards the lock file may be that of another run."""
    if held.is_locked:
        with suppress(OSError):  # Windows removes it after the release
            Path(held.lock_file).unlink(missing_ok=True)
        held.release()


def final_name(name: str) -> str:
    """Returns the final name of a file, given its final or temporary name."""
    return name.removeprefix(".").removesuffix(SUFFIX) if name.endswith(SUFFIX) else name


def read_records(
    path: Path,
    check_columns: CheckColumns = lambda names, place: None,
    *,
    kind: str | None = None,
    lowercase: bool = False,
    ragged: bool = False,
) -> list[Record]:
    """Reads all records of a csv, jsonl, json or parquet file in UTF-8.

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
    reader = csv.reader(io.StringIO(_decoded(content), newline=""), strict=True)
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
                    f"{len(header)}; quote cells that contain a comma"
                )
    except csv.Error as error:
        raise ConfigError(f"line {reader.line_num} is not valid CSV: {error}") from None


def _line_records(content: bytes, check_columns: CheckColumns) -> Iterator[Record]:
    # Not splitlines(): U+2028 and its like may stand inside a JSON string.
    for line, text in enumerate(_decoded(content).split("\n"), start=1):
        if text.strip():
            row = parse_json(text)
            if not isinstance(row, dict):
                raise ConfigError(f"line {line} is not a JSON object; expected one object per line")
            check_columns(row, f"line {line}")
            yield f"line {line}", row


def _document_records(content: bytes, check_columns: CheckColumns) -> Iterator[Record]:
    document = parse_json(_decoded(content))
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
            "expected a JSON document written by peclip predict (with rows), or a list of such "
            "documents; use one of these, or a .jsonl file with one JSON object per line"
        )
    return rows


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text, `None` if it is not JSON."""
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
        raise ConfigError(f"it is not a valid Parquet file: {reason}") from None
    for place, row in enumerate(rows, 1):
        check_columns(row, f"row {place}")
        yield f"row {place}", row
