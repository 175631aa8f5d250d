"""CREMA-D (Cao et al., IEEE TAFFC 2014): 7,442 videos of acted sentences, 91 actors, 6 classes.

The name `1001_DFA_ANG_XX` encodes actor, sentence, emotion and intensity. The label is the acted emotion,
not the crowd's rating.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from peclip.data.benchmarks.acted import ActedName, check_subjects, read_acted, split_by_subject
from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.samples import Split
from peclip.labels import LabelSet

_CODES = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
_LABELS = LabelSet(tuple(_CODES.values()))
_ACTORS = tuple(str(number) for number in range(1001, 1092))
_FOLDS, _PER_FOLD = 5, 18
_NAME = re.compile(r"(10\d\d)_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)")
_BROKEN = frozenset({"1064_IEO_DIS_MD", "1064_TIE_SAD_XX", "1076_MTI_NEU_XX", "1076_MTI_SAD_XX"})
"""Skipped, as in HiCMAE."""


def load_cremad(root: Path, fold: int | None, split: str, annotations: Path | None = None) -> Split:
    """Reads a split of CREMA-D: each fold tests 18 actors in the order of their numbers, the last one 19.

    These are the folds of HiCMAE (Sun et al., 2024), github.com/sunlicai/HiCMAE, preprocess/creamd_av.py.

    Raises:
        DatasetError: the root or the fold is missing, or a name is invalid.
    """
    CREMAD.check_no_lists(annotations)
    if split == "all" and fold is None:
        fold = 1  # any fold: `all` is the same in each
    CREMAD.check_request(root, fold, split)
    assert fold is not None
    end = None if fold == _FOLDS else fold * _PER_FOLD
    test = _ACTORS[(fold - 1) * _PER_FOLD : end]
    samples = read_acted(CREMAD, root, parse_name)
    return split_by_subject(CREMAD, None if split == "all" else fold, split, samples, test)


def load_cremad_subjects(root: Path, split: str, test_subjects: Sequence[str]) -> Split:
    """Reads a split of CREMA-D with custom test subjects, `1001` to `1091`.

    Raises:
        DatasetError: the root is missing, or a name is invalid.
        ConfigError: the subject is unknown.
    """
    CREMAD.check_request(root, 1, split)
    check_subjects(CREMAD, test_subjects, _ACTORS)
    samples = read_acted(CREMAD, root, parse_name)
    return split_by_subject(CREMAD, None, split, samples, test_subjects)


def parse_name(stem: str) -> ActedName | None:
    """Reads a name; `None` for the four broken recordings.

    Raises:
        ValueError: it is not a CREMA-D name.
    """
    match = _NAME.fullmatch(stem)
    if match is None or match[1] not in _ACTORS:
        raise ValueError("names are like 1001_DFA_ANG_XX")
    return None if stem in _BROKEN else ActedName(_CODES[match[3]], match[1], stem)


CREMAD = Benchmark(
    name="cremad",
    title="CREMA-D",
    labels=_LABELS,
    folds=_FOLDS,
    splits=("train", "test", "all"),
    test_split="test",
    tree=("VideoFlash/1001_DFA_ANG_XX.flv, or a folder of frames of this name",),
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    licence="ODbL 1.0, free download",
    load=load_cremad,
    load_subjects=load_cremad_subjects,
)
