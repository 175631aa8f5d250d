"""The networks by architecture name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from peclip.config import ModelConfig
from peclip.models.base import ExpressionModel
from peclip.models.fine_cliper import build_fine_cliper
from peclip.models.pe_clip import build_pe_clip

ARCHITECTURES: dict[str, Callable[..., ExpressionModel]] = {
    "pe-clip": build_pe_clip,
    "finecliper": build_fine_cliper,
}


def build_model(
    config: ModelConfig, *, cache_dir: Path | None = None, offline: bool = False
) -> ExpressionModel:
    """Builds the network of a configuration, with pretrained backbone weights."""
    model = ARCHITECTURES[config.architecture](config, cache_dir=cache_dir, offline=offline)
    model.mirror, model.own_texts = config.mirror, config.label_texts
    model.prior, model.prior_weight = config.prior, config.prior_weight
    return model
