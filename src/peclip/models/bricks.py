"""Bricks that several models can have, built from their configurations."""

from __future__ import annotations

from math import ceil

from torch import nn

from peclip.config import ModelConfig
from peclip.errors import ConfigError
from peclip.models.base import clip_block
from peclip.models.brick_configs import LoraConfig, TemporalHeadConfig
from peclip.nn.clip import Backbone
from peclip.nn.lora import LoraBlock
from peclip.nn.pooling import MeanOverFrames
from peclip.nn.temporal_head import TemporalHead


def add_lora(backbone: Backbone, config: LoraConfig | None) -> None:
    """Adds low-rank updates to the blocks of the configured towers, before a model adapts them.

    Raises:
        ConfigError: the rank is larger than the width of a tower.
    """
    if config is None:
        return
    for name, tower in (("vision", backbone.vision), ("text", backbone.text)):
        if name not in config.towers:
            continue
        if config.rank > tower.width:
            raise ConfigError(
                f"lora.rank is {config.rank}, but the {name} tower has width {tower.width}. Set "
                f"lora.rank to at most {tower.width}."
            )
        tower.blocks = nn.ModuleList(
            LoraBlock(clip_block(block), config.matrices, config.rank, config.alpha, config.dropout)
            for block in tower.blocks
        )


def frame_pooling(
    head: TemporalHeadConfig | None, backbone: Backbone, config: ModelConfig
) -> MeanOverFrames:
    """Returns what pools the features of the frames of a video: their mean, or a temporal head.

    Raises:
        ConfigError: the heads of the temporal head do not divide its width, or its hidden layer is empty.
    """
    if head is None:
        return MeanOverFrames()
    width = backbone.vision.feature_width
    if (inner := head.width or width) % head.heads:
        raise ConfigError(
            f"temporal_head.heads is {head.heads}, which does not divide the width of the temporal "
            f"head, {inner}. Change temporal_head.heads or temporal_head.width."
        )
    if inner * head.mlp_ratio < 1:
        raise ConfigError(
            f"temporal_head.mlp_ratio is {head.mlp_ratio}, so the hidden layer of a temporal head of "
            f"width {inner} would be empty. Set temporal_head.mlp_ratio to at least {ceil(1000 / inner) / 1000:g}."
        )
    return TemporalHead(
        width,
        config.num_frames,
        inner=head.width,
        layers=head.layers,
        heads=head.heads,
        mlp_ratio=head.mlp_ratio,
        dropout=head.dropout,
    )
