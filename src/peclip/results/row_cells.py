"""Reads and checks the cells of records, from row files or from files with one row per video."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from peclip.errors import ConfigError
from peclip.labels import MAX_NAME, canonical, check_text
from peclip.text.records import Record

_PROB = "prob_"
_SUM_TOLERANCE = 0.01  # probabilities that were written with three decimals still pass
_ROUNDING = 1e-6


def text_of(record: Record, name: str, hint: str = "") -> str:
    """Returns a cell that must contain text."""
    place, row = record
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{place} has the {name} {value!r}, expected non-empty text{hint}")
    return value.strip()


def label_of(record: Record, name: str, hint: str = "") -> str:
    """Returns a cell that must contain a label name."""
    value = text_of(record, name, hint)
    _check_label(f"{record[0]}: the {name}", value)
    return value


def _check_label(what: str, name: str) -> None:
    try:
        check_text(what, name, limit=MAX_NAME)
    except ConfigError as error:
        raise ConfigError(str(error).removesuffix(".")) from None


def probability_columns(
    row: Mapping[str, Any], spelled: Callable[[str], str] = canonical
) -> dict[str, str]:
    """Returns the probability columns by label, which `spelled` derives from the column name."""
    columns = dict[str, str]()
    for name in row:
        if name.startswith(_PROB):
            label = spelled(name.removeprefix(_PROB))
            _check_label("the column", label)
            if label in columns:
                raise ConfigError(
                    f"the columns {columns[label]!r} and {name!r} belong to the same label; keep "
                    "one of them"
                )
            columns[label] = name
    return columns


def check_same_columns(record: Record, columns: Mapping[str, str]) -> None:
    """Raises a ConfigError if the probability columns of a record differ from those of the first one."""
    place, row = record
    if {name for name in row if name.startswith(_PROB)} != set(columns.values()):
        raise ConfigError(
            f"{place} does not have the same {_PROB} columns as the first row; every row must "
            "have all of them"
        )


def probabilities_of(record: Record, columns: Mapping[str, str], label: str) -> dict[str, float]:
    """Returns the probabilities of a record by label, 0 to 1.

    Args:
        record: a row of predictions.
        columns: by label, as `probability_columns` returns them.
        label: as spelled in the record; must be one of the columns' labels.
    """
    place, row = record
    scores = {name: _probability(place, row, column) for name, column in columns.items()}
    total = math.fsum(scores.values())
    if abs(total - 1) > _SUM_TOLERANCE:
        raise ConfigError(f"{place} has probabilities that sum to {total:.6g}; they must sum to 1")
    if label not in scores and canonical(label) not in scores:
        raise ConfigError(
            f"{place} has the label {label!r}, but there is no column {_PROB}{canonical(label)}; "
            "every label of the model needs such a column"
        )
    return scores


def _probability(place: str, row: Mapping[str, Any], column: str) -> float:
    given = row.get(column)
    value = number(given)
    if not -_ROUNDING <= value <= 1 + _ROUNDING:  # a NaN fails as well
        raise ConfigError(f"{place} has {given!r} in {column}; expected a number from 0 to 1")
    return min(max(value, 0.0), 1.0)


def number(given: Any) -> float:
    """Returns a cell as a number; NaN if it does not contain one."""
    try:
        return math.nan if given is None or isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        return math.nan
