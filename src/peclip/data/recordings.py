"""Pieces of one recording on both sides of a split, by their file names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from peclip.data.samples import Sample, Split

_NUMBER = re.compile(r"[\W_]*\d+$")
_PIECE = re.compile(
    r"[\W_]*(?:part|piece|clip|segment|seg|chunk|cut|frame|window|scene|take|crop)$", re.IGNORECASE
)
_MIN_LENGTH = 6
"""Characters of a stem; shorter ones, such as IMG_ and vid, number unrelated files."""


class Shared(NamedTuple):
    """One recording that seems to be in two splits."""

    stem: str
    """The beginning of the file names."""
    one: Sample
    other: Sample
    recordings: int
    """Number of such recordings in these two splits."""
    splits: tuple[str, str]


def shared_recording(splits: Sequence[Split]) -> Shared | None:
    """Returns an example of a recording whose pieces seem to be in two of the splits.

    Names such as interview_ann_part3 and interview_ann_part7 are taken for pieces of one recording, where the subject is
    unknown. A numbering of unrelated files, such as happy_001 or of most files of the data set, is not.
    """
    stems, pieces = _recordings(splits)
    for one, other in combinations(splits, 2):
        first, second = _by_stem(one, stems), _by_stem(other, stems)
        both = sorted(first.keys() & second.keys() & pieces)
        if both:
            stem = both[0]
            return Shared(stem, first[stem], second[stem], len(both), (one.split, other.split))
    return None


def longest_recording(split: Split) -> list[Sample]:
    """Returns the samples of a split that seem to be pieces of the recording with the most pieces; empty without one."""
    stems, pieces = _recordings([split])
    by_stem: dict[str, list[Sample]] = {stem: [] for stem in sorted(pieces)}
    for sample in split.samples:
        if (stem := stems.get(sample.id)) in by_stem:
            by_stem[str(stem)].append(sample)
    return max(by_stem.values(), key=len, default=[])


def _recordings(splits: Sequence[Split]) -> tuple[dict[str, str | None], set[str]]:
    """Returns the stem of each sample by its id, and the stems that name recordings."""
    samples = [sample for split in splits for sample in split.samples if sample.subject is None]
    stems = {sample.id: recording_stem(sample) for sample in samples}
    counts = Counter(stem for stem in stems.values() if stem is not None)
    labels = {label.casefold() for split in splits for label in split.labels}
    pieces = {
        stem
        for stem, count in counts.items()
        if stem.casefold() not in labels
        and (_is_compound(stem) or (len(counts) > 2 and 2 * count < len(samples)))
    }
    return stems, pieces


def shared_recording_warning(splits: Sequence[Split]) -> str | None:
    """Returns the warning about `shared_recording`, with an example and what to do."""
    found = shared_recording(splits)
    if found is None:
        return None
    more = f" (and {found.recordings - 1:,} more)" if found.recordings > 1 else ""
    return (
        f"{found.one.id!r} in {found.splits[0]} and {found.other.id!r} in {found.splits[1]} seem to be "
        f"pieces of one recording{more}. A model is then scored on people it has already seen, so the scores are too high. "
        "Use --dataset table with a subject column, or put all pieces with the same person into one split."
    )


def recording_stem(sample: Sample) -> str | None:
    """Returns a file name up to its last number: `ann_2` of `ann_2_part07.mp4`; `None` if it is short or has none."""
    name = sample.source.name if sample.source.is_dir() else sample.source.stem
    stem = _NUMBER.sub("", name)
    if stem == name:
        return None
    stem = _PIECE.sub("", stem)
    return stem if len(stem) >= _MIN_LENGTH else None


def _is_compound(stem: str) -> bool:
    """Whether a stem has a number or two words, and so names a recording rather than a kind of file."""
    return any(character.isdigit() for character in stem) or len(re.findall(r"[^\W_]+", stem)) > 1


def _by_stem(split: Split, stems: dict[str, str | None]) -> dict[str, Sample]:
    found: dict[str, Sample] = {}
    for sample in split.samples:
        stem = stems.get(sample.id)
        if stem is not None:
            found.setdefault(stem, sample)
    return found
