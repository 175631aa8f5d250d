"""DFEW (Jiang et al., ACM MM 2020): 11,697 single-labelled videos from films, 7 classes, 5 folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peclip.data.benchmarks.annotation_list import (
    Entry,
    label_name,
    read_lines,
    read_list,
)
from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.benchmarks.locator import read_listed
from peclip.data.samples import Split
from peclip.data.votes import VoteKey
from peclip.errors import DatasetError
from peclip.labels import EMOTIONS, LabelSet
from peclip.text.bounds import whole_number

_LABELS = LabelSet(EMOTIONS[:7])
_HOMES = ("DFEW_Frame_Face", "Clip/clip_224x224", "Clip/jpg_256", "Clip/original")


def load_dfew(root: Path, fold: int | None, split: str, annotations: Path | None = None) -> Split:
    """Reads a split of DFEW from a list of DFER-CLIP or PE-CLIP, or from the official csv.

    Raises:
        DatasetError: the root, the fold or its list is missing, or a line is invalid.
    """
    official = f"{split}(single-labeled)/set_{fold}.csv"
    names = (f"DFEW_set_{fold}_{split}.txt", f"EmoLabel_DataSplit/{official}", official)
    return read_listed(DFEW, root, fold, split, annotations, names, homes=_HOMES, read=_read)


def _read(path: Path, order: Sequence[str]) -> list[Entry]:
    """Reads a list, or a csv `video_name,label` with labels from 1 and names without leading zeros."""
    if path.suffix != ".csv":
        return read_list(path, order)
    entries = []
    for number, line in read_lines(path):
        name, label = (*(cell.strip(' "') for cell in line.split(",")), "", "")[:2]
        if number == 1 and not label.isdecimal():  # the header
            continue
        clip, place = whole_number(name), whole_number(label)
        if clip is None or not place:
            raise DatasetError(
                f"{path}, line {number}: {line.strip()!r} is invalid: expected "
                "'video_name,label', where video_name is a number and label is 1 to 7. Correct "
                "the line."
            )
        emotion = label_name(path, number, str(place - 1), order)
        entries.append(Entry((f"{clip:05d}",), emotion, None, number))
    return entries


def _id_of(order: str) -> str:
    """Returns the id of a clip by its number in the official annotation, where 1 is 00001."""
    return f"{int(order):05d}"


DFEW = Benchmark(
    name="dfew",
    title="DFEW: Dynamic Facial Expression in the Wild",
    labels=_LABELS,
    folds=5,
    splits=("train", "test"),
    test_split="test",
    tree=(
        "DFEW_Frame_Face/00001/*.jpg, or Clip/clip_224x224/00001/*.jpg, or Clip/original/1.mp4",
        "annotation/DFEW_set_1_train.txt, or EmoLabel_DataSplit/train(single-labeled)/set_1.csv",
    ),
    source="https://dfew-dataset.github.io",
    licence="signed agreement, research only",
    load=load_dfew,
    vote_key=VoteKey("order", "the clip number, as in annotation.xlsx, saved as CSV", _id_of),
)
