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

from peclip.errors import ConfigError
from peclip.nn.backbone_config import (
    backbone_config,
    is_plain,
    is_published,
    open_clip_folder,
    refusal,
)
from peclip.nn.hub_tokenizer import HubTokenizer
from peclip.nn.stem import SeparableStem
from peclip.nn.tokenizer import ClipTokenizer
from peclip.nn.tower_parts import UnsupportedTower
from peclip.nn.towers import TextTower, VisionTower
from peclip.nn.transformers import Clip
from peclip.nn.weight_file import load_weight_file
from peclip.nn.weight_name import WeightFile

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
        name: a model of open_clip (`"ViT-B-16-quickgelu"`), or `"nano"` or `"debug"` of peclip.
        pretrained: a weight tag of open_clip (`"openai"`), a file (`"file:FaRL.pth"`, `"hub:owner/name/FILE"`; see
            `peclip.nn.weight_file`), or `None` for random weights.
        cache_dir: of downloads from the hub; its default if `None`.
        offline: never download.

    Raises:
        ConfigError: the name or the tag is unknown, the model cannot be adapted, or its activation is
            not the one that the weights were trained with.
        WeightsError: the weights are not cached and cannot be downloaded.
        CheckpointError: their file is corrupt, or belongs to another backbone.
    """
    config = backbone_config(name)
    quick_gelu = bool(config.get("quick_gelu", False))
    tokenizer = _tokenizer(config["text_cfg"], cache_dir, offline)
    if pretrained is None:
        model = _build(name, config)
    elif (file := WeightFile.parse(pretrained)) is not None:
        model = _build(name, config)
        load_weight_file(model, file, name, quick_gelu, offline=offline)
    else:
        from peclip.nn import published

        published.check_tag(name, pretrained, quick_gelu=quick_gelu)
        if not is_plain(config):
            published.outline(
                name
            )  # refuses what cannot be adapted before its weights are downloaded
        model = published.build(config) if is_published(name) else _build(name, config)
        published.load_weights(model, name, pretrained, cache_dir, offline)
    if pretrained is not None and isinstance(tokenizer, HubTokenizer):
        tokenizer.load()
    model.requires_grad_(False)
    vision, text = towers(name, model, tokenizer)
    return Backbone(vision.requires_grad_(False), text.requires_grad_(False), quick_gelu)


def towers(name: str, model: Any, tokenizer: Any) -> tuple[VisionTower, TextTower]:
    """Returns the towers of a model of open_clip or of peclip.

    Raises:
        ConfigError: they cannot be adapted.
    """
    try:
        # open_clip's CLIP without `custom_text` is its own text encoder.
        return VisionTower(model.visual), TextTower(getattr(model, "text", model), tokenizer)
    except UnsupportedTower as reason:
        raise ConfigError(refusal(name, str(reason))) from None


def _build(name: str, config: dict[str, Any]) -> Any:
    """Returns a model with random weights."""
    if not is_plain(config):
        from peclip.nn import published

        return published.build(config)
    config = copy.deepcopy(config)
    stem = config.pop("stem", None)
    for other in ("closed_vocabulary", "custom_text"):
        config.pop(other, None)
    model = Clip(**config)
    if stem is not None:
        width = model.visual.class_embedding.shape[0]
        model.visual.conv1 = SeparableStem(**stem, width=width)
    return model


def _tokenizer(
    text_config: dict[str, Any], cache_dir: Path | None = None, offline: bool = False
) -> ClipTokenizer | HubTokenizer:
    if "hf_tokenizer_name" in text_config:
        return HubTokenizer(text_config, cache_dir=cache_dir, offline=offline)
    vocabulary = int(text_config.get("vocab_size", _VOCABULARY))
    return ClipTokenizer(open_clip_folder() / _MERGES, vocabulary)
