"""RAVDESS (Livingstone and Russo, PLoS ONE 2018): 1,440 videos of acted speech, 24 actors, 8 classes.

The name `02-01-06-01-02-01-12` encodes modality, channel, emotion, intensity, statement, repetition, actor.
Speech is read; songs are skipped. Of a performance with sound (01) and without (02), the first is used.
`calm` is a separate label: RAVDESS distinguishes it from neutral, and merging the two would make results
incomparable.
"""

from __future__ import annotations

import re

from peclip.data.benchmarks.acted import ActedName, acted_benchmark
from peclip.labels import LabelSet

_LABELS = LabelSet.of(
    ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
)
_ACTORS = tuple(f"{number:02d}" for number in range(1, 25))
_FOLDS = tuple(_ACTORS[start : start + 4] for start in range(0, 24, 4))
"""The folds of HiCMAE (Sun et al., 2024), github.com/sunlicai/HiCMAE, saved/data/ravdess: fold k tests the
actors 4k-3 to 4k, two men and two women."""
_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")
_SONG, _AUDIO_ONLY, _WITH_SOUND = "02", "03", "01"


def parse_name(stem: str) -> ActedName | None:
    """Reads a name; `None` for songs and sound without a picture.

    Raises:
        ValueError: it is not a RAVDESS name.
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        raise ValueError("names must have the form 02-01-06-01-02-01-12")
    modality, channel, emotion, *_, actor = match.groups()
    if channel == _SONG or modality == _AUDIO_ONLY:
        return None
    performance = stem.split("-", 1)[1]
    label = _LABELS.names[int(emotion) - 1]
    return ActedName(label, actor, performance, rank=0 if modality == _WITH_SOUND else 1)


RAVDESS = acted_benchmark(
    "ravdess",
    "RAVDESS, speech",
    _LABELS,
    parse_name,
    actors=_ACTORS,
    folds=_FOLDS,
    tree=("Actor_01/02-01-06-01-02-01-01.mp4, or a folder of frames of this name",),
    source="https://zenodo.org/records/1188976",
    licence="CC BY-NC-SA 4.0, free download",
)
