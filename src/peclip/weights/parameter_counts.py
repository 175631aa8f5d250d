"""Counts the parameters of a configuration without loading weights."""

from __future__ import annotations

import torch

from peclip.config import ModelConfig
from peclip.models.base import ExpressionModel
from peclip.models.registry import build_model
from peclip.nn.backbone_config import least_parameters
from peclip.weights.checkpoint import LARGE, Undrawn


def outline(config: ModelConfig) -> ExpressionModel:
    """Builds the network of a configuration without weights: its shapes, labels and texts."""
    # Arithmetic on the device "meta" imports torch._dynamo, which takes longer than to allocate a small network.
    small = least_parameters(config.backbone) < LARGE
    with torch.device("cpu" if small else "meta"), Undrawn():
        return build_model(config.self_contained())


def count_parameters(config: ModelConfig) -> dict[str, dict[str, int]]:
    """Counts the parameters of a configuration per part, without any weights.

    Returns:
        `{"total": {part: n, …}, "trainable": {part: n, …}}`.
    """
    parts = outline(config).parameter_groups()
    counts: dict[str, dict[str, int]] = {"total": {}, "trainable": {}}
    for part, parameters in parts.items():
        counts["total"][part] = sum(p.numel() for p in parameters)
        counts["trainable"][part] = sum(p.numel() for p in parameters if p.requires_grad)
    return counts
