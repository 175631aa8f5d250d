"""Soft targets from annotators' votes.

After Barsoum et al. (2016), "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
Distribution". A video has `v_c` votes for label c, and `n` votes for all labels together. Its target is `v_c / n`
for `votes`. For `mixed`, the label of the data set counts as `k` more votes: `(v_c + k [c = label]) / (n + k)`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from peclip.data.config import DataConfig
from peclip.data.samples import Sample, Split
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet, canonical
from peclip.text.records import read_records

Votes = Mapping[str, Mapping[str, float]]
"""Sample id → label, contempt, unknown or nf → votes. A missing video has no votes."""

CONTEMPT = "contempt"
NO_LABELS = frozenset({"unknown", "nf"})
"""Choices of annotators besides labels; nf is "not a face"."""


class VoteKey(NamedTuple):
    """The column of a vote file that identifies a video."""

    column: str = "id"
    example: str = "the ID of the video, as in predictions.csv"
    to_id: Callable[[str], str] = str
    """Content of the column → `Sample.id`.

    Raises:
        ValueError: the content is invalid.
    """


_MAX_VOTES = 1e9

BY_ID = VoteKey()


def read_vote_file(path: Path, key: VoteKey, labels: LabelSet) -> Votes:
    """Reads a csv with one video per row and one column of counts for every label.

    A number before a label is ignored ("1happy", as in DFEW), and so are all other columns.

    Raises:
        DatasetError: the file cannot be read, lacks a column, names a video twice, or a cell is not a count.
    """
    columns: dict[str, str] = {}

    def check_columns(header: Iterable[str], place: str) -> None:
        columns.update(_vote_columns(path, list(header), key, labels))

    try:
        records = read_records(path, check_columns, kind=".csv", ragged=True)
    except ConfigError as error:
        raise DatasetError(
            f"The votes file {path} cannot be read: {error}. {expected_votes(key, labels)}"
        ) from None
    votes: dict[str, dict[str, float]] = {}
    for place, row in records:
        where = f"{path}, {place}"
        name = _id(where, row[key.column], key)
        if name in votes:
            raise DatasetError(f"{where}: duplicate votes for {name!r}. Keep one row per video.")
        votes[name] = {label: _count(where, row[c]) for c, label in columns.items()}
    return votes


def _vote_columns(path: Path, header: list[str], key: VoteKey, labels: LabelSet) -> dict[str, str]:
    """Returns the label that each column counts, by column name."""
    known = {*labels, CONTEMPT, *NO_LABELS}
    columns = {}
    for column in header:
        names = (canonical(column), canonical(column.lstrip("0123456789")))
        label = next((name for name in names if name in known), None)
        if label is not None and column != key.column:
            columns[column] = label
    absent = [name for name in (key.column,) if name not in header]
    absent += [name for name in labels if name not in columns.values()]
    if absent:
        raise DatasetError(
            f"The votes file {path} is missing the columns {', '.join(absent)}. "
            f"{expected_votes(key, labels)}"
        )
    return columns


def expected_votes(key: VoteKey, labels: LabelSet) -> str:
    """Returns one sentence with the required format of a vote file."""
    return (
        f"Set data.votes to a CSV file with the columns {key.column} ({key.example}), "
        f"{', '.join(labels)} and, if annotators could choose them, contempt, unknown and NF."
    )


def _id(where: str, cell: str, key: VoteKey) -> str:
    try:
        return key.to_id(cell.strip())
    except ValueError:
        raise DatasetError(
            f"{where}: {cell!r} in the column {key.column} does not identify a video; expected "
            f"{key.example}."
        ) from None


def _count(where: str, cell: str) -> float:
    try:
        count = float(cell)
    except ValueError:
        count = math.nan
    if not 0 <= count < _MAX_VOTES:
        raise DatasetError(f"{where}: invalid number of votes {cell!r}; it must be 0 or more.")
    return count


def with_votes(split: Split, votes: Votes, config: DataConfig) -> Split:
    """Returns a split with soft targets from votes; its notes list the dropped videos.

    Votes for `unknown`, NF and, unless it is a label, contempt are removed. Left out are videos without a vote,
    videos for which one of these has the most votes or as many as the top label, and, outside
    training, those with tied top labels, whose correct label is ambiguous.

    In training, a tie is resolved in favour of the data set's label, then by label order; this affects
    only the training scores.

    Args:
        split: with the labels of the data set.
        votes: of the data set.
        config: targets, `label_votes`, `contempt`.

    Raises:
        ConfigError: contempt is to be kept, but the votes do not include it.
        DatasetError: none of the videos can be kept.
    """
    labels = _labels(split, votes, config)
    kept, reasons = [], Counter[str]()
    for sample in split.samples:
        found = _with_target(sample, votes, labels, config, keep_ties=split.split == "train")
        if isinstance(found, str):
            reasons[found] += 1
        else:
            kept.append(found)
    if not any(sample.soft_target for sample in kept):
        raise DatasetError(
            f"None of the {len(split):,} videos in {split.title} has votes for any of the labels. "
            f"Check that the IDs match: the first video is {split.samples[0].id!r}, and the votes "
            f"{f'start with {next(iter(votes))!r}' if votes else 'are empty'}. Set data.votes to "
            "the votes of this data set, or set data.targets=labels."
        )
    notes = (*split.notes, _note(split, kept, reasons, config))
    return replace(split, labels=labels, notes=notes).with_samples(kept)


def _labels(split: Split, votes: Votes, config: DataConfig) -> LabelSet:
    if config.contempt == "drop" or CONTEMPT in split.labels.names:
        return split.labels
    if not any(CONTEMPT in counts for counts in votes.values()):
        raise ConfigError(
            f"data.contempt is keep, but the votes for {split.dataset} have no `contempt` column. "
            "Set data.contempt=drop, or use votes that include this column."
        )
    return LabelSet((*split.labels.names, CONTEMPT))


def _with_target(
    sample: Sample, votes: Votes, labels: LabelSet, config: DataConfig, *, keep_ties: bool
) -> Sample | str:
    """Returns the sample with its target and scored label, or the reason it is dropped."""
    mixed = config.targets == "mixed"
    if sample.id not in votes:
        return sample if mixed else "without votes"
    counts = votes[sample.id]
    first = most_voted(counts)
    if not first:
        return "without votes"
    strangers = [name for name in first if name not in labels.names]
    if strangers:
        return f"with most votes for {strangers[0]}"
    weights = {name: counts.get(name, 0.0) for name in labels}
    weights[sample.label] += config.label_votes if mixed else 0.0
    first = most_voted(weights)
    if len(first) > 1 and not keep_ties:
        return "tied"
    total = sum(weights.values())
    target = tuple((name, weight / total) for name, weight in weights.items() if weight)
    label = sample.label if sample.label in first else first[0]
    return replace(sample, label=label, soft_target=target)


def most_voted(counts: Mapping[str, float]) -> list[str]:
    """Returns the labels with the most votes; empty without votes."""
    top = max(counts.values(), default=0.0)
    return [name for name, count in counts.items() if count == top] if top else []


def _note(split: Split, kept: list[Sample], reasons: Counter[str], config: DataConfig) -> str:
    """Returns the notes on the targets of a split and on the dropped videos."""
    source = "votes" if config.votes is None else f"votes in {config.votes.name}"
    if config.targets == "mixed":
        source += f" and {config.label_votes:g} extra votes for the data set's label"
    before = {sample.id: sample.label for sample in split.samples}
    changed = sum(before[sample.id] != sample.label for sample in kept)
    bare = sum(sample.soft_target is None for sample in kept)
    parts = [f"{len(kept):,} of {len(split):,} videos are kept"]
    if reasons:
        left = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        parts.append(f"dropped: {left}")
    if bare:
        parts.append(f"{bare:,} videos without votes keep their label")
    parts.append(f"the scored label of {changed:,} videos differs from the label in the data set")
    return (
        f"{split.title}: soft targets from the {source}; the label with the most votes is scored. "
        f"{'; '.join(parts)}."
    )
