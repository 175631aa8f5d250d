"""Custom videos: a CSV with the columns `path,label,split` and optionally `subject` and `votes`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.media import frames_folder
from peclip.data.samples import Sample, Split, label_set_of
from peclip.data.votes import NO_LABELS, Votes
from peclip.errors import ConfigError, DatasetError
from peclip.labels import canonical
from peclip.text.records import read_records

_SPLITS = ("train", "val", "test")
_VOTES = re.compile(r"([^:]+):(\d{1,9}(?:\.\d+)?)(?:\s+|$)")


class Row(NamedTuple):
    """One row of a table."""

    split: str
    sample: Sample
    votes: Mapping[str, float]
    """Empty without votes."""


def load_table(root: Path, fold: int | None, split: str, annotations: Path | None = None) -> Split:
    """Reads a split of a table. Paths are absolute, or relative to the root; other columns are ignored.

    The labels are those of all rows and votes, so that the splits of a table have one label set. If the root
    holds no file of the table, as with face crops, the folder `one` replaces `one.mp4`.

    Raises:
        DatasetError: the table is missing or lacks a column, a row is invalid, or a video is in two
            splits.
    """
    TABLE.check_request(root, fold, split)
    rows = _read_rows(root, annotations)
    names = {name for row in rows for name in row.votes} - NO_LABELS
    labels = label_set_of(names | {row.sample.label for row in rows}, str(annotations))
    samples = tuple(row.sample for row in rows if split in (row.split, "all"))
    if not samples:
        found = ", ".join(find_splits(root, annotations))
        raise DatasetError(
            f"{annotations} has no rows with the split {split!r}; choose one of {found}."
        )
    missing = tuple(sample for sample in samples if not os.path.exists(sample.source))
    return Split("table", None, split, samples, labels, missing)


def find_splits(root: Path, annotations: Path | None = None) -> tuple[str, ...]:
    """Returns the splits that the rows of a table name."""
    names = {row.split for row in _read_rows(root, annotations)}
    return tuple(split for split in _SPLITS if split in names)


def read_own_votes(root: Path, annotations: Path | None = None) -> Votes:
    """Returns the votes in the column `votes` of a table, by the ids of its videos."""
    return {row.sample.id: row.votes for row in _read_rows(root, annotations) if row.votes}


def _read_rows(root: Path, annotations: Path | None) -> list[Row]:
    if annotations is None or not annotations.is_file():
        given = "none was given" if annotations is None else f"{str(annotations)!r} is not a file"
        raise DatasetError(
            f"The data set 'table' requires a CSV file as annotations, but {given}. "
            f"{TABLE.expected(root)}"
        )
    try:
        records = read_records(
            annotations, _check_columns, kind=".csv", lowercase=True, ragged=True
        )
    except ConfigError as error:
        raise DatasetError(f"The table {annotations} cannot be read: {error}.") from None
    rows = [_row(f"{annotations}, {place}", cells, root) for place, cells in records]
    # All or none: a missing file is not replaced by crops next to the files.
    if not any(os.path.isfile(row.sample.source) for row in rows):
        rows = [row._replace(sample=_as_folder(row.sample)) for row in rows]
    _check_apart(annotations, rows)
    return rows


def _check_columns(header: Iterable[str], place: str) -> None:
    names = [*header]
    absent = [name for name in ("path", "label", "split") if name not in names]
    if absent:
        raise ConfigError(
            f"{place} is missing the columns {', '.join(absent)}; the header must be path,label,split, "
            "optionally followed by subject and votes"
        )


def _as_folder(sample: Sample) -> Sample:
    folder = frames_folder(sample.source)
    return replace(sample, source=folder) if os.path.isdir(folder) else sample


def _check_apart(table: Path, rows: Iterable[Row]) -> None:
    splits: dict[str, str] = {}
    for split, sample, _ in rows:
        other = splits.setdefault(os.path.normpath(sample.source), split)
        if other != split:
            raise DatasetError(
                f"{table} lists {sample.id!r} in both {other} and {split}, but a video may belong "
                "to only one split; otherwise, training data would leak into the evaluation. "
                "Remove one of the two rows."
            )


def _row(where: str, row: Mapping[str, str], root: Path) -> Row:
    names = ("path", "label", "split", "subject", "votes")
    cells = {name: row.get(name, "").strip() for name in names}
    split = cells["split"].lower()
    if not cells["path"] or not cells["label"] or split not in _SPLITS:
        raise DatasetError(
            f"{where}: each row needs a path, a label and a split (train, val or test); got "
            f"{cells['path']!r}, {cells['label']!r} and {cells['split']!r}. Correct the row."
        )
    # Joining an absolute path to the root leaves it unchanged.
    source = root / cells["path"].replace("\\", "/")
    sample = Sample(
        source, canonical(cells["label"]), cells["path"], subject=cells["subject"] or None
    )
    return Row(split, sample, _read_votes(where, cells["votes"]))


def _read_votes(where: str, cell: str) -> dict[str, float]:
    """Reads `happiness:7 neutral:2 very sad:1`."""
    votes: dict[str, float] = {}
    place = 0
    while place < len(cell):
        found = _VOTES.match(cell, place)
        name = canonical(found[1]) if found else ""
        if found is None or not name or name in votes:
            raise DatasetError(
                f"{where}: invalid votes {cell!r}; use the form 'happiness:7 neutral:2', with "
                "each label at most once. Correct the cell, or leave it empty if there are no "
                "votes."
            )
        votes[name] = float(found[2])
        place = found.end()
    return votes


TABLE = Benchmark(
    name="table",
    title="Your own table",
    labels=None,
    folds=None,
    splits=("train", "val", "test", "all"),
    test_split="test",
    tree=("one.mp4 and the other paths of the table: path,label,split[,subject][,votes]",),
    source="your own recordings",
    licence="yours",
    load=load_table,
    find_splits=find_splits,
    own_votes=read_own_votes,
)
