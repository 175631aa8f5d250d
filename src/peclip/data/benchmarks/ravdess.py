"""RAVDESS (Livingstone and Russo, PLoS ONE 2018): 1,440 videos of acted speech, 24 actors, 8 classes.

The name `02-01-06-01-02-01-12` encodes modality, channel, emotion, intensity, statement, repetition, actor.
Speech is read; songs are skipped. Of a performance with sound (01) and without (02), the second is used.
`calm` is a separate label: RAVDESS distinguishes it from neutral, and merging the two would make results
incomparable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from peclip.data.benchmarks.acted import ActedName, check_subjects, read_acted, split_by_subject
from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.samples import Split
from peclip.labels import LabelSet

_LABELS = LabelSet.of(
    ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
)
_ACTORS = tuple(f"{number:02d}" for number in range(1, 25))
_PER_FOLD = 4
_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")
_SONG, _AUDIO_ONLY, _VIDEO_ONLY = "02", "03", "02"


def load_ravdess(
    root: Path, fold: int | None, split: str, annotations: Path | None = None
) -> Split:
    """Reads a split of RAVDESS: fold k tests the actors 4k-3 to 4k, two men and two women.

    These are the folds of HiCMAE (Sun et al., 2024), github.com/sunlicai/HiCMAE, saved/data/ravdess.

    Raises:
        DatasetError: the root or the fold is missing, or a name is invalid.
    """
    RAVDESS.check_no_lists(annotations)
    if split == "all" and fold is None:
        fold = 1  # any fold: `all` is the same in each
    RAVDESS.check_request(root, fold, split)
    assert fold is not None
    test = _ACTORS[(fold - 1) * _PER_FOLD : fold * _PER_FOLD]
    samples = read_acted(RAVDESS, root, parse_name)
    return split_by_subject(RAVDESS, None if split == "all" else fold, split, samples, test)


def load_ravdess_subjects(root: Path, split: str, test_subjects: Sequence[str]) -> Split:
    """Reads a split of RAVDESS with custom test subjects, `01` to `24`.

    Raises:
        DatasetError: the root is missing, or a name is invalid.
        ConfigError: the subject is unknown.
    """
    RAVDESS.check_request(root, 1, split)
    given = [subject.zfill(2) for subject in test_subjects]
    check_subjects(RAVDESS, given, _ACTORS)
    return split_by_subject(RAVDESS, None, split, read_acted(RAVDESS, root, parse_name), given)


def parse_name(stem: str) -> ActedName | None:
    """Reads a name; `None` for songs and sound without a picture.

    Raises:
        ValueError: it is not a RAVDESS name.
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        raise ValueError("names are like 02-01-06-01-02-01-12")
    modality, channel, emotion, *_, actor = match.groups()
    if channel == _SONG or modality == _AUDIO_ONLY:
        return None
    performance = stem.split("-", 1)[1]
    label = _LABELS.names[int(emotion) - 1]
    return ActedName(label, actor, performance, rank=0 if modality == _VIDEO_ONLY else 1)


RAVDESS = Benchmark(
    name="ravdess",
    title="RAVDESS, speech",
    labels=_LABELS,
    folds=len(_ACTORS) // _PER_FOLD,
    splits=("train", "test", "all"),
    test_split="test",
    tree=("Actor_01/02-01-06-01-02-01-01.mp4, or a folder of frames of this name",),
    source="https://zenodo.org/records/1188976",
    licence="CC BY-NC-SA 4.0, free download",
    load=load_ravdess,
    load_subjects=load_ravdess_subjects,
)
