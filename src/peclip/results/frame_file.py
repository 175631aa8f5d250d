"""Files of per-frame rows: csv, jsonl and parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from peclip.errors import ConfigError, MissingExtraError
from peclip.files import replacing
from peclip.results.formats.excel import BYTE_ORDER_MARK, without_formulas
from peclip.results.table_file import check_table

if TYPE_CHECKING:
    from peclip.results.frame_rows import FrameRow

_BLOCK = 10_000
"""Rows in memory at a time, and in a row group of a parquet file."""

_TEXT = ("source", "status", "label")
_WHOLE = ("frame", "face_id", "success", "window")

Cells = Mapping[str, Any]


class FrameFile:
    """A file of per-frame rows, of any number of sources; it appears when it is complete.

    Args:
        path: with one of the endings in `FRAME_FILES`.
        labels: of the model.
        excel: write a csv that Excel opens correctly; see `peclip.results.formats.excel`.

    Raises:
        ConfigError: (from all methods) the extension is unsupported, or is not `.csv` with `excel`, or the file
            cannot be written.
        MissingExtraError: it is a parquet file, and pyarrow is not installed.
    """

    def __init__(self, path: Path, labels: Sequence[str], *, excel: bool = False) -> None:
        from peclip.results.frame_rows import frame_columns  # imports OpenCV

        check_frame_file(path, excel=excel)
        self._path, self._labels = path, labels
        self._stack = ExitStack()
        with _writing(path):
            partial = self._stack.enter_context(replacing(path))
            made = _ExcelCsv if excel else FRAME_FILES[path.suffix.lower()]
            self._writer = made(partial, frame_columns(labels))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close() if kind is None else self.discard()

    def close(self) -> None:
        """Completes the file."""
        with _writing(self._path), self._stack:
            self._writer.close()

    def discard(self) -> None:
        """Removes the incomplete file."""
        with suppress(Exception):
            self._writer.close()
        with suppress(_Discarded), self._stack:
            raise _Discarded

    def write(self, rows: Iterable[FrameRow]) -> None:
        """Writes rows, such as those of one source."""
        cells = (row.to_dict(self._labels) for row in rows)
        while block := list(islice(cells, _BLOCK)):
            with _writing(self._path):
                self._writer.write(block)


class _Discarded(Exception):
    """Makes `replacing` remove the temporary file."""


def check_frame_file(path: Path, *, excel: bool = False) -> None:
    """Checks that per-frame rows can be written to a file with this extension.

    Raises:
        ConfigError: the extension is unsupported, or is not `.csv` with `excel`.
        MissingExtraError: it is a parquet file, and pyarrow is not installed.
    """
    check_table(path, excel=excel, what="per-frame output", endings=tuple(FRAME_FILES))


class _Csv:
    start = ""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._file.write(self.start)
        self._writer = csv.DictWriter(self._file, columns, lineterminator="\n")
        self._writer.writeheader()

    def write(self, rows: Sequence[Cells]) -> None:
        self._writer.writerows(rows)

    def close(self) -> None:
        self._file.close()


class _ExcelCsv(_Csv):
    start = BYTE_ORDER_MARK

    def write(self, rows: Sequence[Cells]) -> None:
        super().write([without_formulas(row) for row in rows])


class _JsonLines:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")

    def write(self, rows: Sequence[Cells]) -> None:
        self._file.writelines(json.dumps(row) + "\n" for row in rows)

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = dict.fromkeys(_TEXT, pa.string()) | dict.fromkeys(_WHOLE, pa.int64())
        self._schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in columns])
        self._table = pa.Table
        self._writer = pq.ParquetWriter(path, self._schema)

    def write(self, rows: Sequence[Cells]) -> None:
        # A name that is not UTF-8 contains surrogates, which Arrow rejects.
        named = [dict(row, source=_encodable(row["source"])) for row in rows]
        self._writer.write_table(self._table.from_pylist(named, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


FRAME_FILES: dict[str, type[_Csv] | type[_JsonLines] | type[_Parquet]] = {
    ".csv": _Csv,
    ".jsonl": _JsonLines,
    ".parquet": _Parquet,
}
"""By extension."""


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except MissingExtraError:
        raise
    except OSError as error:
        raise ConfigError(
            f"The per-frame output {str(path)!r} cannot be written: {error.strerror or error}. "
            "Choose a file in an existing, writable folder."
        ) from None
