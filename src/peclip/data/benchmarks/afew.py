"""AFEW 7.0 (Dhall et al., 2012): 773 training and 383 validation videos from films, 7 classes."""

from __future__ import annotations

from pathlib import Path

from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.benchmarks.locator import read_listed
from peclip.data.samples import Split
from peclip.labels import LabelSet

_LABELS = LabelSet.of(("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"))
"""The order of the labels in PE-CLIP's lists, which differs from the order of its texts."""

_HOMES = {"train": ("AFEW_Face_Retina", "Train_AFEW"), "val": ("AFEW_Face_Retina", "Val_AFEW")}


def load_afew(root: Path, fold: int | None, split: str, annotations: Path | None = None) -> Split:
    """Reads a split of AFEW; the folder name is the label, and the number in the list must match it.

    Raises:
        DatasetError: the root or the list is missing, or a line is invalid or contradicts its folder.
    """
    names, homes = (f"AFEW_{split}.txt",), _HOMES.get(split, ())
    return read_listed(AFEW, root, fold, split, annotations, names, homes=homes, parts=2)


AFEW = Benchmark(
    name="afew",
    title="AFEW 7.0: Acted Facial Expressions in the Wild",
    labels=_LABELS,
    folds=None,
    splits=("train", "val"),
    test_split="val",
    tree=(
        "AFEW_Face_Retina/train/Angry/000046280/*.jpg, or Train_AFEW/Angry/000046280.avi",
        "AFEW_Face_Retina/val/Angry/000149120/*.jpg, or Val_AFEW/Angry/000149120.avi",
        "annotation/AFEW_train.txt",
    ),
    source="the EmotiW organisers, https://users.cecs.anu.edu.au/~few_group/AFEW.html",
    licence="signed agreement (ANU), research only",
    load=load_afew,
    hint="The labels of its test split are not public, so papers report scores on val.",
)
