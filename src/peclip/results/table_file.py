"""Files of tables: csv, jsonl, json and parquet."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from peclip.errors import ConfigError, MissingExtraError
from peclip.files import replacing
from peclip.results.formats.excel import BYTE_ORDER_MARK, without_formulas

TABLE_ENDINGS = (".csv", ".jsonl", ".json", ".parquet")

Table = Sequence[Mapping[str, Any]]


def check_table(
    path: Path,
    *,
    excel: bool = False,
    what: str = "table",
    endings: Sequence[str] = TABLE_ENDINGS,
) -> None:
    """Checks that a table can be written to a file with this extension, before it is computed.

    Args:
        path: the file.
        excel: whether it is meant for Excel.
        what: the name of the table in errors.
        endings: the supported extensions.

    Raises:
        ConfigError: the extension is unsupported, or is not `.csv` with `excel`.
        MissingExtraError: it is a parquet file, and pyarrow is not installed.
    """
    ending = path.suffix.lower()
    if ending not in endings:
        raise ConfigError(
            f"Cannot infer the format of the {what} {path.name!r} from its extension; use one of "
            f"{', '.join(endings)}."
        )
    if excel and ending != ".csv":
        raise ConfigError(
            f"--excel requires .csv files; got {path.name!r}. Change the extension, or remove --excel."
        )
    if ending == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise MissingExtraError("Writing parquet", "data") from None


def write_table(
    path: Path, rows: Table, columns: Sequence[str] | None = None, *, excel: bool = False
) -> None:
    """Writes a table atomically.

    Args:
        path: a file with one of `TABLE_ENDINGS`, or `-` for csv on standard output.
        rows: all with the same columns.
        columns: the column names; by default, those of the first row.
        excel: write a csv that Excel opens correctly; see `peclip.results.formats.excel`.

    Raises:
        ConfigError: the extension is unsupported, or the file cannot be written.
        MissingExtraError: it is a parquet file, and pyarrow is not installed.
    """
    columns = list(rows[0]) if columns is None and rows else list(columns or ())
    if excel:
        rows = [without_formulas(row) for row in rows]
    if str(path) == "-":
        _write_csv(sys.stdout, rows, columns)
        return
    check_table(path, excel=excel)
    try:
        with replacing(path) as partial:
            if path.suffix.lower() == ".parquet":
                _write_parquet(partial, rows, columns)
                return
            with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                file.write(BYTE_ORDER_MARK if excel else "")
                _TEXT[path.suffix.lower()](file, rows, columns)
    except OSError as error:
        raise ConfigError(
            f"The table {str(path)!r} cannot be written: {error.strerror or error}. Choose a file "
            "in an existing, writable folder."
        ) from None


def _write_csv(file: IO[str], rows: Table, columns: Sequence[str]) -> None:
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _write_jsonl(file: IO[str], rows: Table, columns: Sequence[str]) -> None:
    for row in rows:
        file.write(json.dumps(row) + "\n")


def _write_json(file: IO[str], rows: Table, columns: Sequence[str]) -> None:
    json.dump(list(rows), file, indent=2)
    file.write("\n")


def _write_parquet(path: Path, rows: Table, columns: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = {name: [_encodable(row[name]) for row in rows] for name in columns}
    pq.write_table(pa.table({name: pa.array(values) for name, values in cells.items()}), path)


def _encodable(value: Any) -> Any:
    """Returns a cell whose text has no surrogates, which Arrow rejects."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


_TEXT = {".csv": _write_csv, ".jsonl": _write_jsonl, ".json": _write_json}
