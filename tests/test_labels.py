"""Label sets keep their order, and any usual spelling finds its name."""

from __future__ import annotations

import dataclasses

import pytest

from peclip.errors import ConfigError
from peclip.labels import ALIASES, EMOTIONS, LabelSet, canonical


def test_the_emotions_follow_the_order_of_the_data_sets() -> None:
    dfew = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
    mafw = ("contempt", "anxiety", "helplessness", "disappointment")
    assert (*dfew, *mafw) == EMOTIONS


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Happy", "happiness"),
        ("  JOY ", "happiness"),
        ("happiness", "happiness"),
        ("afraid", "fear"),
        ("Neutrality", "neutral"),
        ("Helpless", "helplessness"),
        ("Very \t Tired", "very tired"),
        ("Überrascht", "überrascht"),
    ],
)
def test_any_spelling_gives_the_canonical_name(given: str, name: str) -> None:
    assert canonical(given) == name
    assert canonical(name) == name


def test_every_alias_maps_to_an_emotion() -> None:
    assert set(ALIASES.values()) <= set(EMOTIONS)
    assert not set(ALIASES) & set(EMOTIONS)


def test_a_label_set_keeps_its_order() -> None:
    labels = LabelSet.of(["Angry", "Happy", "bored"])
    assert labels.names == ("anger", "happiness", "bored")
    assert list(labels) == ["anger", "happiness", "bored"]
    assert len(labels) == 3
    assert [labels.index(name) for name in ("anger", "joy", " Bored ")] == [0, 1, 2]


def test_an_unknown_label_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'fear' is not a label.*anger, bored"):
        LabelSet.of(["Angry", "bored"]).index("fear")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([], "at least two names"),
        (["anger"], "at least two names"),
        (["anger", "  "], "Empty label name"),
        (["anger", "bored", "Bored"], "'bored'"),
        (["happy", "sad", "joy"], "'happiness'"),
    ],
)
def test_an_ambiguous_label_set_is_refused(names: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        LabelSet.of(names)


def test_the_constructor_makes_the_same_checks() -> None:
    with pytest.raises(ConfigError, match="'anger'"):
        LabelSet(("anger", "anger"))
    with pytest.raises(ConfigError, match="Empty label name"):
        LabelSet(("anger", ""))


def test_a_label_set_does_not_change() -> None:
    labels = LabelSet(("anger", "fear"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        labels.names = ("fear", "anger")  # type: ignore[misc]
    assert labels == LabelSet(("anger", "fear"))
    assert labels != LabelSet(("fear", "anger"))
