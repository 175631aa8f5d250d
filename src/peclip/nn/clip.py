"""CLIP from open_clip: the available backbones, their weights and their tokenizer.

This is the only file that imports open_clip. The towers take over the modules of an open_clip model and
drop the original, so that no weight is registered twice. Everything loaded here is frozen: modules a
model adds later require a gradient, and `requires_grad` alone determines what is trained.
"""

from __future__ import annotations

import copy
import gzip
import json
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import open_clip
from huggingface_hub import try_to_load_from_cache
from open_clip.tokenizer import SimpleTokenizer, default_bpe
from open_clip.transformer import QuickGELU as OpenClipQuickGELU
from open_clip.transformer import VisionTransformer
from safetensors import SafetensorError

from peclip.downloads.hub import checked_responses
from peclip.errors import CheckpointError, ConfigError, WeightsError, first_line
from peclip.nn.stem import SeparableStem
from peclip.nn.towers import QuickGELU, TextTower, VisionTower

RGB = tuple[float, float, float]
_FULL_VOCABULARY = 49408


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
    if pretrained is not None:
        check_tag(name, pretrained, quick_gelu=bool(config.get("quick_gelu", False)))
    model = _build(name, config)
    if pretrained is not None:
        _load_weights(model, name, pretrained, cache_dir, offline)
    model.requires_grad_(False)
    text = model if isinstance(model, open_clip.CLIP) else model.text
    return Backbone(
        VisionTower(model.visual),
        TextTower(text, _tokenizer(config["text_cfg"])),
        quick_gelu=bool(config.get("quick_gelu", False)),
    )


def backbone_config(name: str) -> dict[str, Any]:
    """Returns the sizes of a backbone in open_clip's format, from peclip's or open_clip's files.

    Raises:
        ConfigError: the name is unknown, or is not a ViT with a plain text transformer.
    """
    own = resources.files("peclip.nn") / "backbones" / f"{name}.json"
    if name in own_backbones():
        return dict(json.loads(own.read_text(encoding="utf-8")))
    config: dict[str, Any] | None = None
    if name in open_clip.list_models():  # else open_clip would follow hf-hub: and local-dir:
        config = open_clip.get_model_config(name)
    if config is None:
        close = [known for known in open_clip.list_models() if known.startswith("ViT-B")]
        raise ConfigError(
            f"Unknown backbone {name!r}. Use one of {', '.join(own_backbones())}, or a ViT model "
            f"of open_clip, such as {', '.join(close[:4])}."
        )
    vision, text = config["vision_cfg"], config["text_cfg"]
    if (
        "timm_model_name" in vision
        or "hf_model_name" in text
        or "hf_tokenizer_name" in text
        or "multimodal_cfg" in config
        or not isinstance(vision["layers"], int)
    ):
        raise ConfigError(
            f"The backbone {name!r} is not a plain CLIP ViT, so adapters cannot be added to it. "
            "Choose a CLIP ViT, such as ViT-B-16-quickgelu, ViT-B-32-quickgelu or "
            "ViT-L-14-quickgelu."
        )
    return copy.deepcopy(config)


def least_parameters(name: str) -> int:
    """Returns a lower bound on a backbone's parameter count, computed from the matrices of its layers.

    Raises:
        ConfigError: as for `backbone_config`.
    """
    config = backbone_config(name)
    towers = (config["vision_cfg"], config["text_cfg"])
    return sum(
        int(tower["layers"] * tower["width"] ** 2 * (4 + 2 * tower.get("mlp_ratio", 4)))
        for tower in towers
    )


def is_published(name: str) -> bool:
    """Returns whether open_clip has a model of this name, which may still be unsupported."""
    return name in open_clip.list_models()


def has_closed_vocabulary(name: str) -> bool:
    """Returns whether the text encoder of a backbone has learned only the label texts of its training.

    Raises:
        ConfigError: as `backbone_config`.
    """
    return bool(backbone_config(name).get("closed_vocabulary", False))


def normalisation(name: str, tag: str | None) -> tuple[RGB, RGB]:
    """Returns the pixel mean and standard deviation of pretrained weights; by default CLIP's."""
    weights = open_clip.get_pretrained_cfg(name, tag or "")
    mean: RGB = weights.get("mean", open_clip.OPENAI_DATASET_MEAN)
    std: RGB = weights.get("std", open_clip.OPENAI_DATASET_STD)
    return mean, std


def own_backbones() -> tuple[str, ...]:
    """Returns the names of the backbones that peclip defines."""
    files = (resources.files("peclip.nn") / "backbones").iterdir()
    return tuple(
        sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))
    )


def _build(name: str, config: dict[str, Any]) -> Any:
    config = copy.deepcopy(config)
    stem = config.pop("stem", None)
    config.pop("closed_vocabulary", None)
    custom_text = config.pop("custom_text", False)
    model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)
    visual = model.visual
    if (
        not isinstance(visual, VisionTransformer)
        or visual.attn_pool is not None
        or visual.pool_type != "tok"
        or not visual.transformer.batch_first
    ):
        raise ConfigError(
            f"The backbone {name!r} does not use class-token pooling, unlike CLIP; choose another "
            "ViT."
        )
    for module in [module for module in model.modules() if hasattr(module, "gelu")]:
        if isinstance(module.gelu, OpenClipQuickGELU):
            module.gelu = QuickGELU()
    if stem is not None:
        visual.conv1 = SeparableStem(**stem, width=visual.class_embedding.shape[0])
    return model


def check_tag(name: str, tag: str, *, quick_gelu: bool) -> None:
    """Checks that a backbone has weights of this name, and the activation they were trained with.

    Raises:
        ConfigError: it does not.
    """
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        known = (
            f"choose one of {', '.join(tags)}" if tags else "it has none, so use another backbone"
        )
        raise ConfigError(f"Unknown weights {tag!r} for the backbone {name!r}; {known}.")
    trained_with = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False))
    if trained_with != quick_gelu:
        # open_clip only warns here, and the features are then silently wrong.
        other = name.removesuffix("-quickgelu") if quick_gelu else f"{name}-quickgelu"
        raise ConfigError(
            f"The weights {tag!r} were trained with {'QuickGELU' if trained_with else 'GELU'}, "
            f"but {name!r} uses {'QuickGELU' if quick_gelu else 'GELU'}. Use {other}/{tag}."
        )


def _load_weights(model: Any, name: str, tag: str, cache_dir: Path | None, offline: bool) -> None:
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


def _tokenizer(text_config: dict[str, Any]) -> SimpleTokenizer:
    """Returns CLIP's tokenizer, with as many byte-pair merges as the vocabulary holds.

    CLIP's merges are ordered by frequency, so a smaller vocabulary gives the same tokenizer with longer
    encodings of rare words: every text remains representable.
    """
    vocabulary = int(text_config.get("vocab_size", _FULL_VOCABULARY))
    context = int(text_config.get("context_length", 77))
    if vocabulary == _FULL_VOCABULARY:
        return SimpleTokenizer(context_length=context)
    merges = (
        vocabulary - 2 * 256 - 2
    )  # bytes, bytes at the end of a word, and the two special tokens
    with gzip.open(default_bpe()) as file:
        lines = file.read().decode("utf-8").split("\n")[: merges + 1]
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
            path = Path(directory) / "merges.txt.gz"
            path.write_bytes(gzip.compress("\n".join(lines).encode("utf-8")))
            return SimpleTokenizer(str(path), context_length=context)
    except OSError as error:
        raise WeightsError(
            f"The tokenizer cannot be saved to a temporary file: {error.strerror or error}. Free "
            "up disk space, or set TMPDIR to a writable folder."
        ) from error
