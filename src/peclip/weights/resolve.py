"""Resolves a model name to its configuration and weight files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from peclip.config import BackboneSizes, ModelConfig, PreprocessConfig
from peclip.downloads.hub import download_repository, hub_cache
from peclip.errors import ConfigError
from peclip.literals import ExportFormat
from peclip.models.registry import DEFAULT, untrained_configs
from peclip.nn.backbone_config import (
    backbone_config,
    check_published_weights,
    is_plain,
    is_published,
)
from peclip.nn.weight_name import WeightFile
from peclip.settings import Settings
from peclip.weights.folder import CONFIG, TENSORS, Checkpoint, model_folder, read_checkpoint
from peclip.weights.model_card import CARD

EMBEDDED = {
    "nano": (
        "a small PE-CLIP model included in the package, trained on FER2013 and news photographs; "
        "works offline"
    )
}
SPECIAL = {
    "debug": "a two-layer model with random weights, for tests and examples; its predictions are "
    "meaningless",
    "nano-untrained": "the architecture of nano with random weights, for training from scratch",
}
BACKBONES = {
    "ViT-B-32-quickgelu/openai": "PE-CLIP on CLIP ViT-B/32, untrained, with randomly initialised prompts",
    "ViT-B-16-quickgelu/openai": "PE-CLIP on CLIP ViT-B/16 (as in the paper), untrained, with "
    "randomly initialised prompts",
    "ViT-L-14-quickgelu/openai": "PE-CLIP on CLIP ViT-L/14, untrained, with randomly initialised prompts",
}
"""Untrained models by name; any other backbone of open_clip works in the same form."""


def resolve(
    name: str | Path | None,
    *,
    settings: Settings,
    revision: str | None = None,
    with_tensors: bool = True,
    architecture: str = DEFAULT,
) -> Checkpoint:
    """Finds a model by name.

    Args:
        name: `None` or `"nano"`, `"debug"`, `"ViT-B-16-quickgelu/openai"` (any open_clip ViT and weight
            tag or file), a directory, or a hub repository `"owner/name[@revision]"`. An untrained model may have a
            prefix: `"finecliper:ViT-B-16-quickgelu/openai"`, `"clip:…"` for CLIP, `"lora:…"` with LoRA.
        settings: cache, network and token.
        revision: of a hub repository; may also follow an `@` in the name.
        architecture: of an untrained model whose name has no prefix.
        with_tensors: false to load only the configuration, without downloading the tensors.

    Raises:
        ConfigError: the model name is unknown.
        WeightsError: a hub repository is not cached and cannot be downloaded.
        CheckpointError: the directory or repository does not hold a peclip model.
    """
    architecture, text = _without_prefix("nano" if name is None else str(name), architecture)
    named = text if architecture == DEFAULT else f"{architecture}:{text}"
    if revision is not None and (text.count("/") != 1 or os.path.isdir(text)):
        raise ConfigError(
            f"The revision {revision!r} was passed for {text!r}, but only hub repositories have "
            "revisions. Remove the revision."
        )
    _check_suffix(text)
    if text in EMBEDDED:
        folder = resources.files("peclip") / "assets" / text
        return read_checkpoint(Path(str(folder)), name=text)
    if text in SPECIAL:
        return Checkpoint(named, "", SPECIAL_CONFIGS[text](architecture), None)
    if text and os.path.isdir(text):  # unlike Path.is_dir, false for an overlong name
        return read_checkpoint(model_folder(Path(text)), name=text)
    owner, _, rest = text.partition("/")
    if rest and is_published(owner) and _is_weights(rest) and revision is None:
        return Checkpoint(named, rest, backbone_model_config(owner, rest, architecture), None)
    if _is_repository(text):
        return _read_repository(text, revision, settings, with_tensors=with_tensors)
    raise ConfigError(
        f"Unknown model {text!r}. Use one of {', '.join([*EMBEDDED, *SPECIAL])}, BACKBONE/WEIGHTS "
        "such as ViT-B-16-quickgelu/openai (finecliper:BACKBONE/WEIGHTS for FineCLIPER, "
        "clip:BACKBONE/WEIGHTS for plain CLIP, lora:BACKBONE/WEIGHTS for CLIP with LoRA), a "
        "directory with a config.json, or a hub repository owner/name[@revision]. To list the models, run: peclip models list"
    )


def find_config(name: str | Path | None, *, settings: Settings) -> ModelConfig | None:
    """Returns the configuration of a model, or `None` if that needs the network or open_clip, which imports torch.

    Raises:
        UserError: there is no such model; see `resolve`.
    """
    _, text = _without_prefix("nano" if name is None else str(name), DEFAULT)
    if not os.path.isdir(text):
        backbone, slash, tag = text.partition("/")
        if slash and is_published(backbone) and _is_weights(tag):
            backbone_config(backbone)
            if WeightFile.parse(tag) is None:
                check_published_weights(backbone, tag)
            return None
        if _is_repository(text) and not settings.offline:
            return None
    return resolve(name, settings=settings).config


def _is_repository(text: str) -> bool:
    return text.partition("@")[0].count("/") == 1 and not text.startswith((".", "/", "~"))


def _check_suffix(text: str) -> None:
    """Raises a ConfigError for the file of an exported model, which has no network."""
    if text.lower().endswith(tuple(f".{form}" for form in get_args(ExportFormat))):
        raise ConfigError(
            f"{text!r} is an exported model, which only predicts: use it with peclip predict -m or "
            "peclip.load. Everything else requires the original model."
        )


def _without_prefix(text: str, architecture: str) -> tuple[str, str]:
    """Returns the architecture of a model name, by its prefix if it has one, and the name without it."""
    prefix, colon, untrained = text.partition(":")
    if not colon or prefix not in untrained_configs():
        return architecture, text
    if not _is_untrained(untrained):
        raise ConfigError(
            f"{text!r} selects an architecture, but the architecture of {untrained!r} is fixed. "
            f"Remove {prefix}:, which only untrained models accept ({', '.join(SPECIAL)}, or "
            "BACKBONE/WEIGHTS)."
        )
    return prefix, untrained


def _read_repository(
    text: str, revision: str | None, settings: Settings, *, with_tensors: bool
) -> Checkpoint:
    repo, _, behind = text.partition("@")  # a branch may have slashes in its name
    if behind and revision and behind != revision:
        raise ConfigError(
            f"{text!r} already contains a revision, but revision {revision!r} was also passed; "
            "use only one of them."
        )
    files = (CONFIG, CARD, TENSORS) if with_tensors else (CONFIG, CARD)
    folder = download_repository(repo, behind or revision, files, settings)
    return read_checkpoint(folder, name=repo, revision=folder.name, with_tensors=with_tensors)


def _is_untrained(name: str) -> bool:
    backbone, _, tag = name.partition("/")
    return name in SPECIAL or bool(tag and is_published(backbone) and _is_weights(tag))


def _is_weights(tag: str) -> bool:
    return "/" not in tag or WeightFile.parse(tag) is not None


def debug_config(architecture: str = DEFAULT) -> ModelConfig:
    """Returns the configuration of `"debug"`."""
    return backbone_model_config("debug", None, architecture).derive(num_frames=4)


def nano_config(architecture: str = DEFAULT) -> ModelConfig:
    """Returns the configuration of `"nano-untrained"`."""
    return backbone_model_config("nano", None, architecture).derive(num_frames=8)


SPECIAL_CONFIGS: dict[str, Callable[[str], ModelConfig]] = {
    "debug": debug_config,
    "nano-untrained": nano_config,
}


def backbone_model_config(
    backbone: str, tag: str | None, architecture: str = DEFAULT
) -> ModelConfig:
    """Returns the default model of an architecture on a backbone of open_clip or of peclip.

    Raises:
        ConfigError: the backbone is unknown.
    """
    config = backbone_config(backbone)
    sizes = BackboneSizes(
        layers=_shorter_tower(backbone, config),
        preprocess=_preprocess(backbone, tag, config["vision_cfg"]["image_size"]),
        quick_gelu=bool(config.get("quick_gelu", False)),
        context=config["text_cfg"].get("context_length", 77),
    )
    return untrained_configs()[architecture].for_backbone(backbone, tag, sizes)


def _shorter_tower(backbone: str, config: Mapping[str, Any]) -> int:
    """Returns the number of layers of the shorter tower."""
    if is_plain(config):
        return min(int(config[part]["layers"]) for part in ("vision_cfg", "text_cfg"))
    from peclip.nn.published import outline  # builds the towers, with torch

    vision, text = outline(backbone)
    return min(len(vision.blocks), len(text.blocks))


def _preprocess(backbone: str, tag: str | None, image_size: int) -> PreprocessConfig:
    if tag is None or WeightFile.parse(tag) is not None:  # a file does not say: CLIP's
        return PreprocessConfig(image_size=image_size)
    from peclip.nn.published import normalisation

    mean, std = normalisation(backbone, tag)
    return PreprocessConfig(image_size=image_size, mean=mean, std=std)


def locate(name: str, *, settings: Settings) -> Path:
    """Returns the path of a model's files: its directory, or the cache of its backbone.

    Raises:
        ConfigError: the model name is unknown.
        WeightsError: a hub repository is not cached and cannot be downloaded.
    """
    checkpoint = resolve(name, settings=settings)
    if checkpoint.tensors is not None:
        return checkpoint.tensors.parent
    from huggingface_hub import constants  # takes as long as everything else here

    return hub_cache(settings) or Path(constants.HF_HUB_CACHE)
