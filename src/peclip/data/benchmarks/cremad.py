"""CREMA-D (Cao et al., IEEE TAFFC 2014): 7,442 videos of acted sentences, 91 actors, 6 classes.

The name `1001_DFA_ANG_XX` encodes actor, sentence, emotion and intensity. The label is the acted emotion,
not the crowd's rating.
"""

from __future__ import annotations

import re

from peclip.data.benchmarks.acted import ActedName, acted_benchmark
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
_FOLDS = (*(_ACTORS[start : start + 18] for start in (0, 18, 36, 54)), _ACTORS[72:])
"""The folds of HiCMAE (Sun et al., 2024), github.com/sunlicai/HiCMAE, preprocess/creamd_av.py: each tests 18
actors in the order of their numbers, the last one 19."""
_NAME = re.compile(r"(10\d\d)_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)")
_BROKEN = frozenset({"1064_IEO_DIS_MD", "1064_TIE_SAD_XX", "1076_MTI_NEU_XX", "1076_MTI_SAD_XX"})
"""Skipped, as in HiCMAE."""


def parse_name(stem: str) -> ActedName | None:
    """Reads a name; `None` for the four broken recordings.

    Raises:
        ValueError: it is not a CREMA-D name.
    """
    match = _NAME.fullmatch(stem)
    if match is None or match[1] not in _ACTORS:
        raise ValueError("names must have the form 1001_DFA_ANG_XX")
    return None if stem in _BROKEN else ActedName(_CODES[match[3]], match[1], stem)


CREMAD = acted_benchmark(
    "cremad",
    "CREMA-D",
    _LABELS,
    parse_name,
    actors=_ACTORS,
    folds=_FOLDS,
    tree=("VideoFlash/1001_DFA_ANG_XX.flv, or a folder of frames of this name",),
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    licence="ODbL 1.0, free download",
)
