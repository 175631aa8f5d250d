"""The prior of a trained model: the frequency of each label as training target."""

from __future__ import annotations

import torch
from torch import Tensor

from peclip.data.dataset import VideoDataset
from peclip.errors import ConfigError
from peclip.labels import LabelSet
from peclip.training.config import TrainConfig
from peclip.training.learner import class_weights
from peclip.training.trainer import training_draws


def target_shares(data: VideoDataset, labels: LabelSet, config: TrainConfig) -> dict[str, float]:
    """Returns the loss-weighted mean training target by label; it sums to 1.

    It includes balanced sampling, class weights, label smoothing, and windows of stills that are labelled
    neutral because their expression is too short. Mixing two videos does not change the mean; a
    teacher's share of the targets is unknown before training, and is ignored.

    Raises:
        ConfigError: a label is never a target, so its log prior would be infinite.
    """
    smoothing = config.label_smoothing
    means = (1 - smoothing) * _mean_target(data, config) + smoothing / len(labels)
    weighted = means * class_weights(data.class_counts(), config).double()
    shares = (weighted / weighted.sum()).tolist()
    missing = [name for name, share in zip(labels, shares, strict=True) if not share]
    if missing:
        raise ConfigError(
            f"train.prior is {config.prior}, but no training video is labelled {' or '.join(missing)}, whose "
            "prior would be 0. Add such videos, remove the label from the model, or set train.prior to none."
        )
    return dict(zip(labels, shares, strict=True))


def _mean_target(data: VideoDataset, config: TrainConfig) -> Tensor:
    """Returns the mean target of the first epoch, float64 (C,), as it is sampled."""
    draws = training_draws(data, config, 0)
    return torch.stack([data.soft_target(draw) for draw in draws]).double().mean(0)
