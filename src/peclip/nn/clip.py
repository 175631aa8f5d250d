"""CLIP as a backbone: its two towers, frozen.

Modules that a model adds later require a gradient, and `requires_grad` alone determines what is trained.
The towers take over the modules of the model that is built and drop the rest, so that no weight is
registered twice.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peclip.nn.backbone_config import (
    backbone_config,
    is_plain,
    is_published,
    open_clip_folder,
)
from peclip.nn.stem import SeparableStem
from peclip.nn.tokenizer import ClipTokenizer
from peclip.nn.towers import TextTower, VisionTower
from peclip.nn.transformers import Clip

_VOCABULARY = 49408
_MERGES = "bpe_simple_vocab_16e6.txt.gz"


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A frozen CLIP: two towers and the activation that its weights were trained with."""

    vision: VisionTower
    text: TextTower
    quick_gelu: bool


def load_backbone(
    name: str, pretrained: str | None, *, cache_dir: Path | None = None, offline: bool = False
) -> Backbone:
    """Builds a frozen CLIP.

    Args:
        name: a ViT of open_clip (`"ViT-B-16-quickgelu"`), or `"nano"` or `"debug"` of peclip.
        pretrained: a weight tag of open_clip (`"openai"`), or `None` for random weights.
        cache_dir: of open_clip's downloads; its default if `None`.
        offline: never download.

    Raises:
        ConfigError: the name or the tag is unknown, the model is not a plain ViT, or its activation is
            not the one that the weights were trained with.
        WeightsError: the weights are not cached and cannot be downloaded.
        CheckpointError: their file is corrupt.
    """
    config = backbone_config(name)
    quick_gelu = bool(config.get("quick_gelu", False))
    if pretrained is None:
        model = _build(name, config)
    else:
        from peclip.nn import published

        published.check_tag(name, pretrained, quick_gelu=quick_gelu)
        model = published.build(name, config) if is_published(name) else _build(name, config)
        published.load_weights(model, name, pretrained, cache_dir, offline)
    model.requires_grad_(False)
    tokenizer = _tokenizer(config["text_cfg"])
    # open_clip's CLIP without `custom_text` is its own text encoder.
    return Backbone(
        VisionTower(model.visual), TextTower(getattr(model, "text", model), tokenizer), quick_gelu
    )


def _build(name: str, config: dict[str, Any]) -> Any:
    """Returns a model with random weights."""
    if not is_plain(config):
        from peclip.nn import published

        return published.build(name, config)
    config = copy.deepcopy(config)
    stem = config.pop("stem", None)
    for other in ("closed_vocabulary", "custom_text"):
        config.pop(other, None)
    model = Clip(**config)
    if stem is not None:
        width = model.visual.class_embedding.shape[0]
        model.visual.conv1 = SeparableStem(**stem, width=width)
    return model


def _tokenizer(text_config: dict[str, Any]) -> ClipTokenizer:
    vocabulary = int(text_config.get("vocab_size", _VOCABULARY))
    return ClipTokenizer(open_clip_folder() / _MERGES, vocabulary)
