"""The prior of a training's targets, the temperature, and the prior's weight after it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from small import LABELS, fresh, quick, split_of, write_videos

from peclip import PEClip
from peclip.config import PreprocessConfig, check
from peclip.data import Sample, Split
from peclip.data.animation import AnimateConfig, AnimatedStills
from peclip.data.dataset import VideoDataset
from peclip.errors import ConfigError
from peclip.labels import LabelSet, prior_factors
from peclip.training.calibration import (
    PRIOR_WEIGHTS,
    choose_prior_weight,
    fit_temperature,
    operating_point,
)
from peclip.training.config import TrainConfig
from peclip.training.prior import training_prior
from peclip.training.runtime import Runtime
from peclip.training.teacher import load_teacher
from peclip.types import Batch

NAMES = LABELS.names


def dataset(counts: dict[str, int], labels: LabelSet = LABELS) -> VideoDataset:
    """Videos of the named classes, which are not read."""
    samples = [
        Sample(Path(f"{label}-{number}"), label, f"{label}-{number}")
        for label, count in counts.items()
        for number in range(count)
    ]
    split = Split("folder", None, "train", tuple(samples), labels)
    return VideoDataset(split, PreprocessConfig(image_size=32), 4, train=True, labels=labels)


UNEVEN = {"happiness": 8, "sadness": 4, "anger": 4}


@pytest.mark.parametrize(
    ("changes", "expected", "unbalanced"),
    [
        ({}, [0.5, 0.25, 0.25], [0.5, 0.25, 0.25]),
        ({"balance": "loss"}, [1 / 3, 1 / 3, 1 / 3], [0.5, 0.25, 0.25]),
        # sqrt(8), sqrt(4), sqrt(4) of 16 draws: 6.6, 4.7, 4.7, by largest remainders 6, 5, 5.
        (
            {"balance": "sampling", "balance_power": 0.5},
            [6 / 16, 5 / 16, 5 / 16],
            [0.5, 0.25, 0.25],
        ),
        ({"label_smoothing": 0.3}, [0.45, 0.275, 0.275], [0.45, 0.275, 0.275]),
    ],
)
def test_shares_by_hand(
    changes: dict[str, object], expected: list[float], unbalanced: list[float]
) -> None:
    prior = training_prior(dataset(UNEVEN), LABELS, quick(prior="targets", **changes))
    for shares, by_hand in ((prior.targets, expected), (prior.videos, unbalanced)):
        assert list(shares) == list(NAMES)
        assert list(shares.values()) == pytest.approx(by_hand)


def test_expressions_that_are_too_short_count_as_neutral() -> None:
    labels = LabelSet(("happiness", "neutral"))
    split = dataset({"happiness": 300, "neutral": 100}, labels).split
    animate = AnimateConfig(faint=0.5, faint_share=(0.05, 0.1), share=(0.3, 1.0))
    stills = AnimatedStills(
        split, PreprocessConfig(image_size=32), 4, seed=0, labels=labels, animate=animate
    )
    shares = training_prior(stills, labels, quick(prior="targets")).targets
    assert shares["neutral"] == pytest.approx(0.25 + 0.75 / 2, abs=0.05)


def test_a_label_without_videos_has_no_prior() -> None:
    rare = dataset({"happiness": 3, "anger": 1})
    with pytest.raises(ConfigError, match=r"labelled sadness.*train\.prior to none"):
        training_prior(rare, LABELS, quick(prior="fit"))
    smoothed = training_prior(rare, LABELS, quick(prior="fit", label_smoothing=0.3))
    assert smoothed.targets["sadness"] == pytest.approx(0.1)


@dataclass
class Trained:
    """A model that was trained on frequencies p, from videos with the frequencies f."""

    prior: dict[str, float]
    label_frequencies: dict[str, float]
    prior_weight: float | None = None


UNBALANCED = Trained({"a": 0.8, "b": 0.2}, {"a": 0.8, "b": 0.2})
"""With the weight w, the odds of b against a are multiplied by (1 + 1.5 w) / (1 - 0.375 w)."""


def test_factors_by_hand() -> None:
    """At 0 predictions are for the frequencies of the videos, at 1 for equal ones."""
    prior, frequencies = {"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.8, "b": 0.1, "c": 0.1}
    factors = [prior_factors("cab", prior, frequencies, weight) for weight in (0, 0.5, 1)]
    assert factors[0] == pytest.approx((0.1 / 0.2, 0.8 / 0.5, 0.1 / 0.3))
    assert factors[1] == pytest.approx((0.65 / 3 / 0.2, 1.7 / 3 / 0.5, 0.65 / 3 / 0.3))
    assert factors[2] == pytest.approx((1 / 0.6, 1 / 1.5, 1 / 0.9))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_weight_maximises_the_mean_of_war_and_uar(weight: float) -> None:
    """Over all ways to label three kinds of videos whose probabilities are known."""
    kinds = torch.tensor([[0.90, 0.05, 0.05], [0.50, 0.35, 0.15], [0.40, 0.25, 0.35]])
    often = torch.tensor([0.5, 0.3, 0.2])
    frequencies = dict(zip("abc", (often @ kinds).tolist(), strict=True))
    factors = torch.tensor(prior_factors("abc", frequencies, frequencies, weight))
    chosen = (kinds * factors).argmax(-1).tolist()

    def value(labels: Sequence[int]) -> float:
        recalls = [0.0, 0.0, 0.0]
        for kind, label in enumerate(labels):
            recalls[label] += (
                float(often[kind] * kinds[kind, label]) / list(frequencies.values())[label]
            )
        war = sum(f * r for f, r in zip(frequencies.values(), recalls, strict=True))
        return (1 - weight) * war + weight * sum(recalls) / 3

    assert value(chosen) == pytest.approx(max(map(value, itertools.product(range(3), repeat=3))))


def test_the_weight_by_hand() -> None:
    """A rare video that loses by 0.5 is won where (1 + 1.5 w) / (1 - 0.375 w) > e^0.5, from 0.306 on.

    A frequent one that wins by 1.3 is lost from 0.928 on; up to there all predictions are right.
    """
    probabilities = torch.tensor([[0.0, -0.5], [1.3, 0.0], [0.0, -0.1]]).softmax(-1)
    targets = torch.tensor([1, 0, 1])
    point = operating_point(probabilities, targets, UNBALANCED, cost=0, calibrate=False)
    assert (point.prior_weight, point.temperature) == (0.35, 1.0)
    assert (point.before, point.after) == (pytest.approx((1 / 3, 0.5)), (1.0, 1.0))
    told = point.to_dict("the validation videos")
    assert told["chosen_on"] == "the validation videos"
    assert "within 0 points" in told["criterion"]
    assert (told["war_before"], told["uar_before"]) == pytest.approx((33.333333, 50.0))
    assert (told["war_after"], told["uar_after"]) == (100.0, 100.0)


@pytest.mark.parametrize(("cost", "expected"), [(0, 0.0), (9.9, 0.0), (10.1, 0.35)])
def test_a_weight_may_cost_so_much_accuracy(cost: float, expected: float) -> None:
    """Of 8 frequent videos two are lost from 0.055 on, and of 2 rare ones one is won from 0.306 on.

    WAR falls from 9/10 to 8/10, UAR rises from (8/8 + 1/2) / 2 = 0.75 to (6/8 + 2/2) / 2 = 0.875.
    """
    frequent = [[2.0, 0.0]] * 6 + [[0.1, 0.0]] * 2
    logits = torch.tensor([*frequent, [0.0, 2.0], [0.5, 0.0]])
    targets = torch.tensor([0] * 8 + [1] * 2)
    assert choose_prior_weight(logits, targets, UNBALANCED, cost) == expected


def test_of_equal_weights_the_smallest_is_chosen() -> None:
    right = torch.tensor([[0.99, 0.01], [0.01, 0.99]])
    assert choose_prior_weight(right.log(), torch.tensor([0, 1]), UNBALANCED, 0) == 0.0
    assert (PRIOR_WEIGHTS[0], PRIOR_WEIGHTS[1], PRIOR_WEIGHTS[-1]) == (0.0, 0.05, 1.0)


@pytest.mark.parametrize("factor", [0.4, 1.6])
@pytest.mark.parametrize(("cost", "low", "high"), [(0.0, 0.0, 0.2), (100.0, 0.8, 1.0)])
def test_the_temperature_is_fitted_before_the_weight(
    factor: float, cost: float, low: float, high: float
) -> None:
    """A model that is too sure or too shy by a factor gets it back, and then the weight of its criterion."""
    generator = torch.Generator().manual_seed(0)
    shares = {"a": 0.6, "b": 0.3, "c": 0.1}
    noise = torch.randn(60_000, 3, generator=generator, dtype=torch.float64) * 2
    logits = noise + torch.tensor(list(shares.values()), dtype=torch.float64).log()
    targets = logits.softmax(-1).multinomial(1, generator=generator)[:, 0]
    found = torch.bincount(targets, minlength=3) / len(targets)
    trained = Trained(*[dict(zip(shares, found.tolist(), strict=True))] * 2)
    probabilities = (factor * logits).softmax(-1)
    point = operating_point(probabilities, targets, trained, cost=cost, calibrate=True)
    assert point.temperature == pytest.approx(factor, rel=0.03)
    assert point.temperature == fit_temperature(probabilities, targets)
    assert point.prior_weight is not None
    assert low <= point.prior_weight <= high


def uneven_videos(root: Path) -> Split:
    """Six, three and three videos: sadness and anger lose three of theirs."""
    write_videos(root, 6)
    split = split_of(root)
    kept = [s for s in split.samples if s.label == "happiness" or s.id[-1] in "012"]
    return split.with_samples(kept)


def test_training_stores_the_prior_of_its_targets(tmp_path: Path) -> None:
    videos = uneven_videos(tmp_path)
    plain, stored = fresh(), fresh()
    plain.fit(videos, config=quick())
    stored.fit(videos, config=quick(prior="targets"))
    assert stored.config.prior == {"happiness": 0.5, "sadness": 0.25, "anger": 0.25}
    assert stored.config.label_frequencies == stored.config.prior
    assert stored.config.prior_weight is None
    assert stored.model.prior == stored.config.prior
    batch = Batch(torch.rand(2, 4, 3, 32, 32))
    assert stored.probabilities(batch) == plain.probabilities(batch), "it is not part of the loss"


def test_training_chooses_weight_and_temperature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved predicts softmax(z / T + log(q / p)), z from the model before that."""
    monkeypatch.setattr("peclip.training.calibration.PRIOR_WEIGHTS", (0.7,))
    videos = uneven_videos(tmp_path / "videos")
    plain, fitted = fresh(), fresh()
    config = quick(select_on="val")
    plain.fit(videos, videos, config)
    result = fitted.fit(
        videos, videos, config.model_copy(update={"prior": "fit", "calibrate": True})
    )
    point = result.operating_point
    assert point is not None
    assert (point["prior_weight"], point["chosen_on"]) == (0.7, videos.title)
    assert point["temperature_factor"] != pytest.approx(1.0, abs=1e-3)
    assert fitted.config.prior_weight == 0.7
    fitted.save_pretrained(tmp_path / "model")
    loaded = PEClip.from_pretrained(tmp_path / "model", device="cpu")
    assert loaded.config == fitted.config
    batch = Batch(torch.rand(2, 4, 3, 32, 32))
    # p and f are (0.5, 0.25, 0.25), so that q is (0.15 + 0.7 / 3, 0.075 + 0.7 / 3, the same).
    factors = torch.tensor([0.766667, 1.233333, 1.233333], dtype=torch.float64)
    logits = torch.tensor(plain.probabilities(batch), dtype=torch.float64).log()
    expected = (logits / point["temperature_factor"] + factors.log()).softmax(-1)
    found = torch.tensor(loaded.probabilities(batch), dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_prior_of_a_base_does_not_outlive_a_training(videos: Split) -> None:
    prior = dict(zip(NAMES, (0.9, 0.05, 0.05), strict=True))
    based = fresh(prior=prior, label_frequencies=prior, prior_weight=1.0)
    plain = fresh()
    result = based.fit(videos, videos, quick(select_on="val"))
    expected = plain.fit(videos, videos, quick(select_on="val"))
    assert [e["val"] for e in result.history] == [e["val"] for e in expected.history]
    for trained in (based.config, based.model):
        assert trained.prior is trained.label_frequencies is trained.prior_weight is None


def test_a_weight_takes_validation_videos_that_are_not_reported(videos: Split) -> None:
    with pytest.raises(ConfigError, match=r"there are none.*train\.prior to targets"):
        fresh().fit(videos, config=quick(prior="fit"))
    with pytest.raises(ConfigError, match="on the test videos.*prior to targets"):
        check(TrainConfig, {"select_on": "test", "prior": "fit"})


def test_a_teacher_teaches_what_it_predicts(tmp_path: Path) -> None:
    prior = dict(zip(NAMES, (0.6, 0.3, 0.1), strict=True))
    fresh(prior=prior, label_frequencies=prior, prior_weight=1.0).save_pretrained(tmp_path)
    config = quick(teacher={"model": str(tmp_path), "share": 1.0}).teacher
    assert config is not None
    student = fresh()
    teacher = load_teacher(config, student.loaded, Runtime(student.device))
    batch = Batch(torch.rand(1, 4, 3, 32, 32))
    taught = teacher.soften(batch, torch.zeros(1, 3))
    expected = PEClip.from_pretrained(tmp_path, device="cpu").probabilities(batch)
    assert taught.tolist()[0] == pytest.approx(expected[0], abs=1e-6)
    own = student.probabilities(batch)[0]
    odds = math.log(expected[0][0] / expected[0][2]) - math.log(own[0] / own[2])
    assert odds == pytest.approx(-math.log(0.6 / 0.1), abs=1e-3)
