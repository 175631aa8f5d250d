"""Participant tables, whose columns are joined to a summary by source."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from peclip.errors import ConfigError
from peclip.text.records import read_records

_LEVELS: tuple[Callable[[Path], str], ...] = (str, lambda path: path.name, lambda path: path.stem)
"""How a table may identify a source: by its path, its name, or its name without the extension."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Participants:
    """The rows of a table, by source."""

    path: Path
    rows: Mapping[str, Mapping[str, Any]]
    """The other columns, by the value of the `source` column."""

    def join(self, sources: Iterable[str]) -> tuple[dict[str, Mapping[str, Any]], str]:
        """Returns each source's columns, and a remark about sources and rows that do not match.

        A table row matches a source by its path, otherwise by its name, otherwise by its name without the
        extension. The remark is empty if every source has a row and every row a source. One row may match several
        sources, such as files named `a.mp4` in two folders.
        """
        found = dict[str, Mapping[str, Any]]()
        used, missing = set[str](), list[str]()
        names = list(next(iter(self.rows.values()), ()))
        spelled = {str(Path(name)): name for name in self.rows}  # ./a.mp4 is a.mp4
        for source in dict.fromkeys(sources):
            called = (level(Path(source)) for level in _LEVELS)
            name = next((spelled[one] for one in called if one in spelled), None)
            if name is None:
                missing.append(source)
                found[source] = dict.fromkeys(names)
            else:
                used.add(name)
                found[source] = self.rows[name]
        return found, self._remark(missing, len(found), [n for n in self.rows if n not in used])

    def _remark(self, missing: Sequence[str], total: int, unused: Sequence[str]) -> str:
        parts = []
        if missing:
            parts.append(
                f"{len(missing)} of {total} sources are not in the table ({_listed(missing)})"
            )
        if unused:
            parts.append(
                f"{len(unused)} of its {len(self.rows)} rows match no source ({_listed(unused)})"
            )
        return f"{self.path}: {'; '.join(parts)}" if parts else ""


def read_participants(path: str | Path) -> Participants:
    """Reads a table with the column `source` and any other columns.

    Args:
        path: a `.csv`, `.jsonl` or `.parquet` file.

    Raises:
        ConfigError: the file cannot be read, lacks the column, has no rows, contains a source twice, or
            has a cell that is neither text, a number, a truth value, a date nor a time.
        MissingExtraError: it is a parquet file, and pyarrow is not installed.
    """
    path = Path(path)
    rows, places = dict[str, Mapping[str, Any]](), dict[str, str]()
    try:
        for place, record in read_records(path, _check_columns):
            cells = {column: _cell(place, column, cell) for column, cell in record.items()}
            name = str(cells["source"] or "").strip()
            if not name:
                raise ConfigError(f"{place} has no source; each row must name one")
            key = str(Path(name))
            if key in places:
                raise ConfigError(
                    f"{place} repeats the source {name!r} from {places[key]}; each source must "
                    "occur only once"
                )
            places[key] = place
            rows[name] = {column: cell for column, cell in cells.items() if column != "source"}
        if not rows:
            raise ConfigError("it has no rows; expected one per source")
    except ConfigError as error:
        raise ConfigError(f"The participant table {str(path)!r} cannot be read: {error}.") from None
    return Participants(path, rows)


def _cell(place: str, column: str, cell: Any) -> Any:
    """Returns a cell that every table format can hold: dates as ISO text, `None` if it is empty."""
    if isinstance(cell, datetime.date | datetime.time):  # a datetime is a date
        return cell.isoformat()
    if isinstance(cell, Decimal):
        cell = float(cell)
    if cell == "" or (isinstance(cell, float) and math.isnan(cell)):
        return None  # pandas writes empty cells as NaN, which would be several groups
    if cell is None or isinstance(cell, str | int | float):  # a bool is an int
        return cell
    if isinstance(cell, list | dict):
        kind = "a list" if isinstance(cell, list) else "an object"
    else:
        kind = f"a value of type {type(cell).__name__}"
    raise ConfigError(
        f"{place} has {kind} in the column {column!r}; use text, numbers, true or false, dates or "
        "empty cells, or remove the column"
    )


def _check_columns(names: Iterable[str], place: str) -> None:
    names = list(names)
    if "source" not in names:
        raise ConfigError(
            f"{place} has no source column, which should identify a participant's video (path, name, or "
            f"name without the extension); found {', '.join(map(repr, names))}"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{place} has the column {twice!r} twice; column names must be unique")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
