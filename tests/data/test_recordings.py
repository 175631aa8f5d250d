"""Pieces of one recording on both sides of a split are noticed by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.data import Sample, Split
from peclip.data.recordings import (
    longest_recording,
    recording_stem,
    shared_recording,
    shared_recording_warning,
)
from peclip.labels import LabelSet


def sample(name: str, label: str = "happiness", subject: str | None = None) -> Sample:
    return Sample(Path(f"/x/{label}/{name}"), label, f"{label}/{name}", subject)


def split(name: str, *samples: Sample) -> Split:
    return Split("folder", None, name, samples, LabelSet(("happiness", "sadness")))


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("interview_ann_part07.mp4", "interview_ann"),
        ("interview-ann-12.mp4", "interview-ann"),
        ("P03 2021-05-04 clip 3.mp4", "P03 2021-05-04"),
        ("S010_004_00000017.png", "S010_004"),
        ("interview_ann.mp4", None),
        ("IMG_0012.jpg", None),
        ("12345.jpg", None),
    ],
)
def test_the_stem_before_the_last_number(name: str, stem: str | None) -> None:
    assert recording_stem(sample(name)) == stem


def test_pieces_in_two_splits() -> None:
    train = split("train", sample("interview_ann_1.mp4"), sample("interview_bea_1.mp4"))
    val = split("val", sample("interview_ann_2.mp4", "sadness"), sample("interview_eve_1.mp4"))
    found = shared_recording([train, val])
    assert found is not None
    assert (found.stem, found.recordings, found.splits) == ("interview_ann", 1, ("train", "val"))
    said = str(shared_recording_warning([train, val]))
    assert "'happiness/interview_ann_1.mp4' in train" in said
    assert "'sadness/interview_ann_2.mp4' in val" in said
    assert "subject column" in said


def test_whole_recordings_in_each_split() -> None:
    train = split("train", sample("interview_ann_1.mp4"), sample("interview_ann_2.mp4"))
    val = split("val", sample("interview_eve_1.mp4"), sample("interview_eve_2.mp4"))
    assert shared_recording_warning([train, val]) is None


def test_the_recording_with_the_most_pieces() -> None:
    names = ("interview_ann_1", "interview_bea_1", "interview_ann_2", "interview_ann_7")
    train = split("train", *(sample(f"{name}.mp4") for name in names))
    assert [piece.source.stem for piece in longest_recording(train)] == [names[0], *names[2:]]
    assert longest_recording(split("train", sample("a.mp4"))) == []


def test_known_subjects_need_no_names() -> None:
    train = split("train", sample("interview_ann_1.mp4", subject="ann"))
    val = split("val", sample("interview_ann_2.mp4", subject="eve"))
    assert shared_recording([train, val]) is None


@pytest.mark.parametrize("name", ["Training", "happiness", "pictures"])
def test_a_numbering_of_all_files_is_no_recording(name: str) -> None:
    train = split("train", *(sample(f"{name}_{number}.jpg") for number in range(8)))
    test = split("test", *(sample(f"{name}_{number}.jpg") for number in range(8, 12)))
    assert shared_recording([train, test]) is None


def test_one_word_is_a_recording_if_there_are_others() -> None:
    train = split(
        "train", *(sample(f"{name}_1.mp4") for name in ("wedding", "holiday", "football"))
    )
    test = split("test", *(sample(f"{name}_2.mp4") for name in ("wedding", "garden")))
    found = shared_recording([train, test])
    assert found is not None
    assert found.stem == "wedding"
