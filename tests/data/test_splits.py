"""Carving a validation split."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from peclip.data import Sample, Split, carve_validation
from peclip.data.splits import limited
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet

LABELS = LabelSet(("happiness", "sadness", "disgust"))


def split_of(counts: dict[str, int]) -> Split:
    samples = [
        Sample(Path(f"/x/{label}/{number}"), label, f"{label}/{number}")
        for label, count in counts.items()
        for number in range(count)
    ]
    return Split("x", 2, "train", tuple(samples), LABELS)


def acted(subjects: int, per_label: int = 3) -> Split:
    samples = [
        Sample(Path(f"/{s}/{label}/{k}"), label, f"{s}/{label}/{k}", subject=f"s{s}")
        for s in range(subjects)
        for label in LABELS
        for k in range(per_label)
    ]
    return Split("x", None, "train", tuple(samples), LABELS)


def ids(split: Split) -> set[str]:
    return {sample.id for sample in split.samples}


def test_labels_keep_their_proportions() -> None:
    whole = split_of({"happiness": 400, "sadness": 95, "disgust": 4})
    train, val = carve_validation(whole, 0.1, seed=0)
    assert val.counts() == {"happiness": 40, "sadness": 10, "disgust": 1}
    assert ids(train) | ids(val) == ids(whole)
    assert not ids(train) & ids(val)
    assert (train.title, val.title, val.labels) == ("x fold 2 train", "x fold 2 val", LABELS)


def test_the_order_of_samples_does_not_matter_and_is_kept() -> None:
    whole = split_of({"happiness": 50, "sadness": 50, "disgust": 5})
    _, val = carve_validation(whole, 0.2, seed=3)
    shuffled = list(whole.samples)
    random.Random(1).shuffle(shuffled)
    train, again = carve_validation(whole.with_samples(shuffled), 0.2, seed=3)
    assert ids(again) == ids(val)
    assert [s for s in shuffled if s in train.samples] == list(train.samples)
    _, other = carve_validation(whole, 0.2, seed=4)
    assert ids(other) != ids(val)


def test_the_choice_is_the_same_in_every_version_of_peclip() -> None:
    _, val = carve_validation(split_of({"happiness": 5, "sadness": 5, "disgust": 5}), 0.2, seed=0)
    assert sorted(ids(val)) == ["disgust/1", "happiness/2", "sadness/4"]


def test_a_rare_label_stays_in_train() -> None:
    train, val = carve_validation(split_of({"happiness": 10, "disgust": 1}), 0.9, seed=0)
    assert train.counts() == {"happiness": 1, "sadness": 0, "disgust": 1}
    assert val.counts()["disgust"] == 0


@pytest.mark.parametrize("seed", range(20))
def test_no_person_is_in_both_splits(seed: int) -> None:
    train, val = carve_validation(acted(20), 0.2, seed=seed)
    assert not train.subjects & val.subjects
    assert len(val.subjects) == 4
    assert set(val.counts().values()) == {12}


def test_subjects_of_different_sizes_come_near_the_fraction() -> None:
    generator = random.Random(0)
    samples = [
        Sample(Path(f"/{s}/{k}"), generator.choice(LABELS.names), f"{s}/{k}", subject=f"s{s}")
        for s in range(60)
        for k in range(generator.randint(1, 40))
    ]
    whole = Split("x", None, "train", tuple(samples), LABELS)
    for seed in range(10):
        train, val = carve_validation(whole, 0.15, seed=seed)
        assert not train.subjects & val.subjects
        for label, count in whole.counts().items():
            assert abs(val.counts()[label] / count - 0.15) < 0.04


def test_known_and_unknown_subjects_together() -> None:
    whole = split_of({"happiness": 10, "sadness": 10, "disgust": 10})
    mixed = whole.with_samples(whole.samples + acted(10).samples)
    train, val = carve_validation(mixed, 0.2, seed=0)
    assert len(val.subjects) == 2
    assert not train.subjects & val.subjects
    assert set(val.counts().values()) == {2 + 2 * 3}


def test_large_subjects() -> None:
    train, val = carve_validation(acted(2), 0.01, seed=0)
    assert (len(train.subjects), len(val.subjects)) == (1, 1)
    train, val = carve_validation(acted(3), 0.99, seed=0)
    assert len(train.subjects) == 1


def people(**labels: str) -> Split:
    """Five videos of each label of each person."""
    samples = [
        Sample(Path(f"/{who}/{label}/{k}"), label, f"{who}/{label}/{k}", subject=who)
        for who, words in labels.items()
        for label in words.split()
        for k in range(5)
    ]
    return Split("x", None, "train", tuple(samples), LABELS)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("fraction", [0.1, 0.34, 0.9])
def test_no_label_leaves_train_with_a_person(fraction: float, seed: int) -> None:
    whole = people(ann="happiness sadness", bob="happiness sadness", eve="disgust happiness")
    train, val = carve_validation(whole, fraction, seed=seed)
    assert all(train.counts().values())
    assert val.subjects <= {"ann", "bob"}
    pairs = people(a="happiness", b="happiness", c="sadness", d="sadness", e="disgust", f="disgust")
    train, val = carve_validation(pairs, fraction, seed=seed)
    assert all(train.counts().values())
    assert val.samples


def test_only_videos_without_a_person_can_be_moved() -> None:
    whole = people(ann="happiness", bob="sadness")
    mixed = whole.with_samples(whole.samples + split_of({"disgust": 10}).samples)
    train, val = carve_validation(mixed, 0.2, seed=0)
    assert val.counts() == {"happiness": 0, "sadness": 0, "disgust": 2}
    assert train.subjects == {"ann", "bob"}


def test_no_person_can_be_moved() -> None:
    whole = people(ann="happiness", bob="sadness", eve="disgust")
    with pytest.raises(DatasetError, match=r"3 subjects .*Provide a val split.*select_on=last"):
        carve_validation(whole, 0.1, seed=0)


def test_a_video_listed_twice_stays_together() -> None:
    whole = split_of({"happiness": 10, "sadness": 10, "disgust": 10})
    twice = whole.with_samples(whole.samples * 2)
    for seed in range(10):
        train, val = carve_validation(twice, 0.3, seed=seed)
        assert not ids(train) & ids(val)


def test_missing_videos_stay_known() -> None:
    whole = split_of({"happiness": 10, "sadness": 10, "disgust": 10})
    whole = Split("x", None, "train", whole.samples, LABELS, missing=whole.samples[:10])
    train, val = carve_validation(whole, 0.2, seed=0)
    assert (len(train.missing), len(val.missing)) == (8, 2)
    assert len(val.without_missing()) == len(val) - 2


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_invalid_fractions(fraction: float) -> None:
    with pytest.raises(ConfigError, match="fraction .*above 0 and below 1"):
        carve_validation(acted(3), fraction, seed=0)


@pytest.mark.parametrize("whole", [split_of({}), split_of({"happiness": 1}), acted(1)])
def test_too_few_videos_to_split(whole: Split) -> None:
    with pytest.raises(DatasetError, match="cannot be divided"):
        carve_validation(whole, 0.5, seed=0)


def test_a_limit_draws_the_same_videos_of_each_label() -> None:
    whole = split_of({"happiness": 50, "sadness": 3, "disgust": 10})
    few = limited(whole, 4)
    assert few.counts() == {"happiness": 4, "sadness": 3, "disgust": 4}
    assert ids(limited(whole, 2)) < ids(few), "a larger limit adds videos"
    turned = limited(whole.with_samples(whole.samples[::-1]), 4)
    assert turned.samples == few.samples[::-1]
    assert [s.id for s in few.samples if s.label == "happiness"] != [
        f"happiness/{n}" for n in range(4)
    ]
