"""Counts the parameters of a configuration without loading weights."""

from __future__ import annotations

import torch

from peclip.config import ModelConfig
from peclip.models.base import ExpressionModel
from peclip.models.registry import build_model


def outline(config: ModelConfig) -> ExpressionModel:
    """Builds the network of a configuration without any weights: its shapes, labels and texts."""
    with torch.device("meta"):
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
