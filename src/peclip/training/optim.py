"""The optimiser and its learning rates, which are functions of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from peclip.errors import ConfigError
from peclip.models.base import ExpressionModel
from peclip.training.config import TrainConfig

_PART = "part"


def make_optimizer(model: ExpressionModel, config: TrainConfig) -> torch.optim.AdamW:
    """Returns AdamW over the trained parameters, with groups for adapters, prompts and backbone.

    Weights of adapters and prompts all decay, as in the release; of the backbone the matrices do.

    Raises:
        ConfigError: nothing of the model is to be trained.
    """
    members: dict[tuple[str, bool], list[nn.Parameter]] = {
        ("adapters", True): [],
        ("prompts", True): [],
        ("backbone", True): [],
        ("backbone", False): [],
    }
    for part, parameters in model.parts().items():
        name = part if part in ("prompts", "backbone") else "adapters"
        for parameter in parameters:
            if parameter.requires_grad:
                members[name, name != "backbone" or parameter.ndim > 1].append(parameter)
    groups = [
        {
            "params": trained,
            _PART: name,
            "lr": getattr(config.lr, name),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (name, decays), trained in members.items()
        if trained
    ]
    if not groups:
        raise ConfigError(
            "Nothing is left to train: the model has no adapters and no prompts, and its backbone is frozen. "
            "Leave one of them in, or give the backbone a learning rate (train.lr.backbone)."
        )
    return torch.optim.AdamW(groups, fused=True)  # one pass over the weights: 8 ms against 27


def learning_rate(step: int, peak: float, config: TrainConfig, steps_per_epoch: int) -> float:
    """Returns the learning rate of a step, counted from 0.

    With W warm-up steps of N in all::

        step < W:   warmup_lr + (peak - warmup_lr) * step / W
        otherwise:  min_lr + (peak - min_lr) * (1 + cos(pi * (step - W) / (N - W))) / 2
    """
    total = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total)
    lowest = min(config.min_lr, peak)
    if step < warmup:
        start = min(config.warmup_lr, peak)
        return start + (peak - start) * step / warmup
    done = (step - warmup) / max(1, total - warmup)
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def set_learning_rates(
    optimizer: torch.optim.Optimizer, config: TrainConfig, step: int, steps_per_epoch: int
) -> dict[str, float]:
    """Sets the learning rate of every part for a step, and returns them."""
    rates = {}
    for group in optimizer.param_groups:
        peak = getattr(config.lr, group[_PART])
        group["lr"] = rates[group[_PART]] = learning_rate(step, peak, config, steps_per_epoch)
    return rates
