"""The prior of a trained model: the frequency of each label as training target, and among the videos."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from peclip.data.dataset import VideoDataset
from peclip.errors import ConfigError
from peclip.labels import LabelSet
from peclip.training.config import TrainConfig
from peclip.training.learner import class_weights
from peclip.training.trainer import training_draws


@dataclass(frozen=True, slots=True)
class TrainingPrior:
    """Frequencies of the labels in a training, each summing to 1."""

    targets: dict[str, float]
    """Frequencies among the targets as weighted by the loss."""
    videos: dict[str, float]
    """The same frequencies without class balancing."""


def training_prior(data: VideoDataset, labels: LabelSet, config: TrainConfig) -> TrainingPrior:
    """Returns the loss-weighted mean training target by label, with class balancing and without.

    It includes balanced sampling, class weights, label smoothing, and windows of stills that are labelled
    neutral because their expression is too short. Mixing two videos does not change the mean; a
    teacher's share of the targets is unknown before training, and is ignored.

    Raises:
        ConfigError: a label is never a target, so its log prior would be infinite.
    """
    plain = config.model_copy(update={"balance": "none"})
    targets, videos = (_shares(data, used).tolist() for used in (config, plain))
    missing = [name for name, share in zip(labels, targets, strict=True) if not share]
    if missing:
        raise ConfigError(
            f"train.prior is {config.prior}, but no training video is labelled "
            f"{' or '.join(missing)}, so the prior of these labels would be 0. Add videos with "
            "these labels, remove the labels from the model, or set train.prior to none."
        )
    return TrainingPrior(
        dict(zip(labels, targets, strict=True)), dict(zip(labels, videos, strict=True))
    )


def _shares(data: VideoDataset, config: TrainConfig) -> Tensor:
    smoothing = config.label_smoothing
    means = _mean_target(data, config)
    means = (1 - smoothing) * means + smoothing / len(means)
    weighted = means * class_weights(data.class_counts(), config).double()
    return weighted / weighted.sum()


def _mean_target(data: VideoDataset, config: TrainConfig) -> Tensor:
    """Returns the mean target of the first epoch, float64 (C,), as it is sampled."""
    draws = training_draws(data, config, 0)
    return torch.stack([data.soft_target(draw) for draw in draws]).double().mean(0)
