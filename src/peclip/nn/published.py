"""The published backbones of open_clip: their models, their weights and the facts about them.

This is the only file that imports open_clip, which takes longer than importing torch. It is imported only for
published weights, and for models that `nn.transformers` does not implement.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import open_clip
import torch
from huggingface_hub import try_to_load_from_cache
from open_clip.transformer import QuickGELU as OpenClipQuickGELU
from safetensors import SafetensorError

from peclip.downloads.hub import checked_responses
from peclip.errors import CheckpointError, ConfigError, WeightsError, first_line
from peclip.nn.backbone_config import backbone_config, refusal, unknown_weights
from peclip.nn.clip_block import QuickGELU
from peclip.nn.open_clip_towers import text_parts, vision_parts
from peclip.nn.tower_parts import TextParts, UnsupportedTower, VisionParts

RGB = tuple[float, float, float]


class Outline(NamedTuple):
    """What a backbone is made of."""

    vision: VisionParts
    text: TextParts


@cache
def outline(name: str) -> Outline:
    """Builds a model of open_clip without allocating its weights, and takes it apart.

    Raises:
        ConfigError: it cannot be adapted.
    """
    try:
        with torch.device("meta"):
            model = build(backbone_config(name))
            return Outline(vision_parts(model.visual), text_parts(getattr(model, "text", model)))
    except UnsupportedTower as reason:
        raise ConfigError(refusal(name, str(reason))) from None


def build(config: dict[str, Any]) -> Any:
    """Returns a model of open_clip, with its QuickGELU replaced by peclip's."""
    config = copy.deepcopy(config)
    custom_text = config.pop("custom_text", False)
    model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)
    for module in [module for module in model.modules() if hasattr(module, "gelu")]:
        if isinstance(module.gelu, OpenClipQuickGELU):
            module.gelu = QuickGELU()
    return model


def normalisation(name: str, tag: str) -> tuple[RGB, RGB]:
    """Returns the pixel mean and standard deviation of pretrained weights; by default CLIP's."""
    weights = open_clip.get_pretrained_cfg(name, tag)
    mean: RGB = weights.get("mean", open_clip.OPENAI_DATASET_MEAN)
    std: RGB = weights.get("std", open_clip.OPENAI_DATASET_STD)
    return mean, std


def check_tag(name: str, tag: str, *, quick_gelu: bool) -> None:
    """Checks that a backbone has weights of this name, and the activation they were trained with.

    Raises:
        ConfigError: it does not.
    """
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise unknown_weights(name, tag, tags)
    trained_with = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False))
    if trained_with != quick_gelu:
        # open_clip only warns here, and the features are then silently wrong.
        other = name.removesuffix("-quickgelu") if quick_gelu else f"{name}-quickgelu"
        raise ConfigError(
            f"The weights {tag!r} were trained with {'QuickGELU' if trained_with else 'GELU'}, "
            f"but {name!r} uses {'QuickGELU' if quick_gelu else 'GELU'}. Use {other}/{tag}."
        )


def load_weights(model: Any, name: str, tag: str, cache_dir: Path | None, offline: bool) -> None:
    """Loads published weights into a model of open_clip, downloading them if they are not cached.

    Raises:
        WeightsError: they are not cached and cannot be downloaded.
        CheckpointError: their file is corrupt.
    """
    path = _find_weights(name, tag, cache_dir, offline)
    try:
        open_clip.load_checkpoint(model, path, strict=True, weights_only=True)
    except (RuntimeError, ValueError, OSError, EOFError, SafetensorError, UnpicklingError) as error:
        file = Path(path).resolve()  # the hub's cache would link to what a link leads to again
        raise CheckpointError(
            f"The weights {name}/{tag} cannot be loaded: {first_line(error).rstrip('.')}. If "
            f"{str(file)!r} is corrupt, delete it and download it again with: peclip models "
            f"download {name}/{tag}"
        ) from error


def _find_weights(name: str, tag: str, cache_dir: Path | None, offline: bool) -> str:
    weights = open_clip.get_pretrained_cfg(name, tag)
    if offline:
        cached = _cached_weights(weights, cache_dir)
        if cached is None:
            raise WeightsError(
                f"peclip is in offline mode, and the weights {name}/{tag} are not in the cache "
                f"{cache_dir or 'of open_clip'}. Once online, download them with: peclip models "
                f"download {name}/{tag}"
            )
        return cached
    try:
        with checked_responses():
            return str(
                open_clip.download_pretrained(
                    weights, cache_dir=None if cache_dir is None else str(cache_dir)
                )
            )
    except (OSError, RuntimeError, ValueError) as error:  # the hub's errors are OSErrors
        raise WeightsError(
            f"The weights {name}/{tag} could not be downloaded: {first_line(error).rstrip('.')}. "
            "Check the network connection, or download them on another machine with: peclip "
            f"models download {name}/{tag}"
        ) from error


def _cached_weights(weights: dict[str, Any], cache_dir: Path | None) -> str | None:
    """Looks up a hub file in the local cache only, under the names that open_clip downloads."""
    repo, _, filename = weights.get("hf_hub", "").rpartition("/")
    if not repo:
        return None
    names = (
        [filename] if filename else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    )
    for candidate in names:
        found = try_to_load_from_cache(repo, candidate, cache_dir=cache_dir)
        if isinstance(found, str):
            return found
    return None
