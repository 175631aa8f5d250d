"""The optimisers and their learning rates, which are functions of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from peclip.errors import ConfigError
from peclip.models.base import ExpressionModel
from peclip.nn.stem import stems_of
from peclip.training.config import TrainConfig

_PART = "part"
_GROUPS = {"prompts": "prompts", "backbone": "backbone", "LoRA": "lora", "head": "head"}
"""By part of a model: its field of `LearningRates`, if not `adapters`."""
_HIDDEN = (nn.Linear, nn.MultiheadAttention)
"""Modules whose matrices Muon trains; it does not suit embeddings or other shapes."""


def make_optimizers(
    model: ExpressionModel, config: TrainConfig
) -> tuple[torch.optim.Optimizer, ...]:
    """Returns the optimisers of the trained parameters: AdamW, and Muon if configured.

    Weights of adapters, prompts and other added parts all decay, as in the release; of the backbone the matrices do. Muon
    (Jordan et al., 2024; its update scaled to AdamW's, Liu et al., 2025, "Muon is Scalable for LLM
    Training") takes the matrices of linear layers and attention of a trained backbone.

    Raises:
        ConfigError: the model has no trainable parameters, or none for Muon.
    """
    members: dict[tuple[str, bool], list[nn.Parameter]] = {
        (name, decays): []
        for name in ("adapters", "prompts", "backbone", "stem", "lora", "head")
        for decays in (True, False)
    }
    stem = {parameter for stem in stems_of(model) for parameter in stem.trunk()}
    for part, parameters in model.parameter_groups().items():
        name = _GROUPS.get(part, "adapters")
        for parameter in parameters:
            if parameter.requires_grad:
                own = "stem" if parameter in stem else name
                members[own, name != "backbone" or parameter.ndim > 1].append(parameter)
    hidden = _hidden_matrices(model) if config.optimizer == "muon" else set()
    by_muon = [p for p in members["backbone", True] if p in hidden]
    members["backbone", True] = [p for p in members["backbone", True] if p not in hidden]
    groups = [
        _group(name, trained, config, decays=decays)
        for (name, decays), trained in members.items()
        if trained
    ]
    if not groups:
        raise ConfigError(
            "Nothing to train: the model has no adapters, prompts, LoRA or temporal head, and its "
            "backbone is frozen. Enable one of them, or set train.lr.backbone."
        )
    adamw = torch.optim.AdamW(groups, fused=True)  # one pass over the weights: 8 ms against 27
    if config.optimizer == "adamw":
        return (adamw,)
    if not by_muon:
        raise ConfigError(
            "train.optimizer is muon, which trains the matrices of the backbone, but the "
            "backbone is frozen. Set train.lr.backbone, or use adamw."
        )
    group = _group("backbone", by_muon, config, decays=True)
    return adamw, torch.optim.Muon([group], adjust_lr_fn="match_rms_adamw")


def _group(
    name: str, trained: list[nn.Parameter], config: TrainConfig, *, decays: bool
) -> dict[str, Any]:
    return {
        "params": trained,
        _PART: name,
        "lr": config.lr.peak(name),
        "weight_decay": config.weight_decay if decays else 0.0,
    }


def _hidden_matrices(model: nn.Module) -> set[nn.Parameter]:
    """Returns the matrices inside the modules of a network."""
    return {
        parameter
        for module in model.modules()
        if isinstance(module, _HIDDEN)
        for parameter in module.parameters(recurse=False)
        if parameter.ndim == 2
    }


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
    optimizers: Iterable[torch.optim.Optimizer],
    config: TrainConfig,
    step: int,
    steps_per_epoch: int,
) -> dict[str, float]:
    """Sets the learning rate of every part for a step, and returns them."""
    rates = {}
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        peak = config.lr.peak(group[_PART])
        group["lr"] = rates[group[_PART]] = learning_rate(step, peak, config, steps_per_epoch)
    return rates
