"""Where weights come from and how they are kept: a folder with `config.json` and `model.safetensors`.

A model on a published backbone stores only what was trained and names the backbone; a model whose
backbone has no published weights stores everything. Nothing is ever unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from huggingface_hub import constants
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from peclip.cards import CARD
from peclip.config import UNTRAINED, BackboneSizes, ModelConfig, PreprocessConfig, read_config
from peclip.downloads.hub import download_repository, hub_cache
from peclip.errors import CheckpointError, ConfigError
from peclip.files import replacing
from peclip.models.base import ExpressionModel
from peclip.models.registry import build_model
from peclip.nn.clip import backbone_config, is_published, normalisation
from peclip.nn.tensor_file import copy_tensors, counted, read_tensors
from peclip.settings import Settings

CONFIG, TENSORS = "config.json", "model.safetensors"
MODEL = "model"
"""Where the folder of a run holds its model."""

EMBEDDED = {"nano": "a small PE-CLIP inside the package, trained on FER2013; works offline"}
SPECIAL = {
    "debug": "two layers of random weights, for tests and examples; its answers mean nothing",
    "nano-untrained": "the network of nano with random weights, to be trained from scratch",
}
BACKBONES = {
    "ViT-B-32-quickgelu/openai": "PE-CLIP on CLIP ViT-B/32, untrained: its prompts are random",
    "ViT-B-16-quickgelu/openai": "PE-CLIP on CLIP ViT-B/16 (the paper's), untrained: its prompts are random",
    "ViT-L-14-quickgelu/openai": "PE-CLIP on CLIP ViT-L/14, untrained: its prompts are random",
}
"""Models that can be named without a training; any other open_clip ViT works in the same form."""

_DEBUG_SEED = 20260101
_MAX_CONFIG = 10**6


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A configuration, and the tensors to load into what it builds."""

    name: str
    revision: str
    config: ModelConfig
    tensors: Path | None
    """`None`: freshly initialised adapters."""


def resolve(
    name: str | Path | None,
    *,
    settings: Settings,
    revision: str | None = None,
    with_tensors: bool = True,
    architecture: str = "pe-clip",
) -> Checkpoint:
    """Finds a model by name.

    Args:
        name: `None` or `"nano"`, `"debug"`, `"ViT-B-16-quickgelu/openai"` (any open_clip ViT and weight
            tag), a directory, or a hub repository `"owner/name[@revision]"`. What is untrained may have
            its kind before a colon: `"finecliper:ViT-B-16-quickgelu/openai"`, or `"clip:…"` for CLIP itself.
        settings: cache, network and token.
        revision: of a hub repository; may also stand behind an `@`.
        architecture: of what is untrained, where the name does not say it.
        with_tensors: false if the configuration is enough; the tensors are then not downloaded.

    Raises:
        ConfigError: nothing goes by this name.
        WeightsError: a hub repository is not cached and cannot be downloaded.
        CheckpointError: the directory or repository does not hold a peclip model.
    """
    text = "nano" if name is None else str(name)
    before, colon, untrained = text.partition(":")
    if colon and before in UNTRAINED:
        if not _is_untrained(untrained):
            raise ConfigError(
                f"{untrained!r} has an architecture of its own, and {text!r} names one. Leave {before}: out; "
                f"what is untrained may have it: {', '.join(SPECIAL)}, or BACKBONE/WEIGHTS."
            )
        architecture, text = before, untrained
    if revision is not None and (text.count("/") != 1 or os.path.isdir(text)):
        raise ConfigError(
            f"The revision {revision!r} was given for {text!r}; only hub repositories have revisions."
        )
    if text in EMBEDDED:
        folder = resources.files("peclip") / "assets" / text
        return read_checkpoint(Path(str(folder)), name=text)
    named = text if architecture == "pe-clip" else f"{architecture}:{text}"
    if text in SPECIAL:
        return Checkpoint(named, "", SPECIAL_CONFIGS[text](architecture), None)
    if text and os.path.isdir(text):  # unlike Path.is_dir, false for a name that is too long
        return read_checkpoint(model_folder(Path(text)), name=text)
    owner, _, rest = text.partition("/")
    if rest and "/" not in rest and is_published(owner) and revision is None:
        return Checkpoint(named, rest, backbone_model_config(owner, rest, architecture), None)
    repo, _, behind = text.partition("@")  # a branch may have slashes in its name
    if repo.count("/") == 1 and not text.startswith((".", "/", "~")):
        if behind and revision and behind != revision:
            raise ConfigError(
                f"{text!r} was given with the revision {revision!r}; give one of both."
            )
        files = (CONFIG, CARD, TENSORS) if with_tensors else (CONFIG, CARD)
        folder = download_repository(repo, behind or revision, files, settings)
        return read_checkpoint(folder, name=repo, revision=folder.name, with_tensors=with_tensors)
    raise ConfigError(
        f"No model goes by {text!r}. Accepted are {', '.join([*EMBEDDED, *SPECIAL])}, "
        "BACKBONE/WEIGHTS such as ViT-B-16-quickgelu/openai (as FineCLIPER: finecliper:BACKBONE/WEIGHTS; CLIP "
        "itself: clip:BACKBONE/WEIGHTS), a directory with a config.json, and a hub repository "
        "owner/name[@revision]. See: peclip models list"
    )


def model_folder(folder: Path) -> Path:
    """Returns the model of a run, if the folder is one of a run and no model itself."""
    inner = folder / MODEL
    # As in resolve: what is a name and no path at all is no folder either.
    return inner if not os.path.isfile(folder / CONFIG) and os.path.isdir(inner) else folder


def _is_untrained(name: str) -> bool:
    backbone, _, tag = name.partition("/")
    return name in SPECIAL or bool(tag and "/" not in tag and is_published(backbone))


def read_checkpoint(
    folder: Path, *, name: str, revision: str = "", with_tensors: bool = True
) -> Checkpoint:
    """Reads the configuration of a model directory.

    Raises:
        CheckpointError: a file is missing or the configuration is not accepted.
    """
    for file in (CONFIG, TENSORS) if with_tensors else (CONFIG,):
        if not (folder / file).is_file():
            folds = sorted(str(fold.parent) for fold in folder.glob(f"fold-*/{MODEL}"))
            one = (
                f" This is a run with a model per fold: give one, such as {folds[0]!r}."
                if folds
                else ""
            )
            raise CheckpointError(
                f"{str(folder)!r} holds no {file}. A model directory of peclip holds {CONFIG} and "
                f"{TENSORS}, as save_pretrained writes them.{one}"
            )
    try:
        with (folder / CONFIG).open(encoding="utf-8") as stream:
            text = stream.read(_MAX_CONFIG + 1)
        if len(text) > _MAX_CONFIG:
            raise ConfigError(f"it is longer than {_MAX_CONFIG:,} characters.")
        config = read_config(text)
    except (ConfigError, UnicodeDecodeError, OSError) as error:
        raise CheckpointError(f"{str(folder / CONFIG)!r} cannot be used: {error}") from None
    return Checkpoint(name, revision, config, folder / TENSORS)


def load_model(
    checkpoint: Checkpoint, *, settings: Settings, seed: int = _DEBUG_SEED
) -> ExpressionModel:
    """Builds the network of a checkpoint on the CPU in eval mode.

    Args:
        checkpoint: what to load.
        settings: cache, network and token.
        seed: of everything that the checkpoint does not hold: the same in every run, unless a training
            asks for its own.

    Raises:
        WeightsError: the weights of the backbone cannot be had.
        CheckpointError: the tensors do not fit the configuration.
    """
    with _seeded(seed):
        model = build_model(
            checkpoint.config, cache_dir=hub_cache(settings), offline=settings.offline
        )
    if checkpoint.tensors is not None:
        load_tensors(model, checkpoint.config, checkpoint.tensors)
    return model.eval()


def load_tensors(model: ExpressionModel, config: ModelConfig, path: Path) -> None:
    """Loads exactly the stored parameters of a model from a safetensors file.

    Raises:
        CheckpointError: not a safetensors file or a damaged one, or its names or shapes are not those of
            the model.
    """
    loaded = read_tensors(path)
    expected = stored_tensors(model, config)
    missing, unexpected = sorted(expected.keys() - loaded), sorted(loaded.keys() - expected)
    wrong = [
        f"{name} is {tuple(loaded[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected.keys() & loaded.keys()
        if loaded[name].shape != expected[name].shape
    ]
    if missing or unexpected or wrong:
        raise CheckpointError(
            f"{str(path)!r} does not fit {config.architecture} on {config.backbone}: "
            f"{counted('parameters missing', missing)}, {counted('unexpected', unexpected)}, "
            f"{counted('of another shape', sorted(wrong))}. The {CONFIG} beside it must be its own."
        )
    copy_tensors(path, loaded, expected)


def save_model(
    model: ExpressionModel,
    config: ModelConfig,
    folder: Path,
    *,
    full: bool = False,
    half: bool = False,
) -> None:
    """Writes `config.json` and `model.safetensors`, each complete or not at all.

    Args:
        model: what to save.
        config: its configuration.
        folder: made if it does not exist.
        full: store the backbone too, so that the folder needs no download.
        half: store fp16; loaded models compute in fp32 again.

    Raises:
        ConfigError: the folder cannot be written.
    """
    if full and config.pretrained is not None:
        config = config.derive(pretrained=None)
    tensors = {
        name: (tensor.detach().half() if half and tensor.is_floating_point() else tensor.detach())
        .to("cpu")
        .contiguous()
        for name, tensor in stored_tensors(model, config).items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / TENSORS) as partial:
            save_file(tensors, partial, metadata={"format": "pt"})
            partial.chmod(0o644)  # safetensors makes files that only their owner can read
        with replacing(folder / CONFIG) as partial:
            partial.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"The model cannot be saved in {str(folder)!r}: {error}") from None


def stored_tensors(model: ExpressionModel, config: ModelConfig) -> dict[str, Tensor]:
    """Returns the parameters that belong into a checkpoint, by name, and the statistics of norms."""
    whole = config.pretrained is None
    found: dict[str, Tensor] = {
        name: parameter
        for name, parameter in model.named_parameters()  # one that is shared comes once
        if parameter.requires_grad or whole
    }
    kept = model.state_dict() if whole else {}
    return found | {name: buffer for name, buffer in model.named_buffers() if name in kept}


def outline(config: ModelConfig) -> ExpressionModel:
    """Builds the network of a configuration without any weights: its shapes, labels and texts."""
    with torch.device("meta"):
        return build_model(config.derive(pretrained=None))


def count_parameters(config: ModelConfig) -> dict[str, dict[str, int]]:
    """Counts the parameters of a configuration per part, without any weights.

    Returns:
        `{"total": {part: n, …}, "trainable": {part: n, …}}`.
    """
    parts = outline(config).parts()
    counts: dict[str, dict[str, int]] = {"total": {}, "trainable": {}}
    for part, parameters in parts.items():
        counts["total"][part] = sum(p.numel() for p in parameters)
        counts["trainable"][part] = sum(p.numel() for p in parameters if p.requires_grad)
    return counts


def debug_config(architecture: str = "pe-clip") -> ModelConfig:
    """Returns the configuration of `"debug"`."""
    return backbone_model_config("debug", None, architecture).derive(num_frames=4)


def nano_config(architecture: str = "pe-clip") -> ModelConfig:
    """Returns the configuration of `"nano-untrained"`."""
    return backbone_model_config("nano", None, architecture).derive(num_frames=8)


SPECIAL_CONFIGS: dict[str, Callable[[str], ModelConfig]] = {
    "debug": debug_config,
    "nano-untrained": nano_config,
}


def backbone_model_config(
    backbone: str, tag: str | None, architecture: str = "pe-clip"
) -> ModelConfig:
    """Returns the default model of an architecture on a backbone of open_clip or of peclip.

    Raises:
        ConfigError: the backbone is not known.
    """
    config = backbone_config(backbone)
    vision, text = config["vision_cfg"], config["text_cfg"]
    mean, std = normalisation(backbone, tag)
    sizes = BackboneSizes(
        layers=min(vision["layers"], text["layers"]),
        preprocess=PreprocessConfig(image_size=vision["image_size"], mean=mean, std=std),
        quick_gelu=bool(config.get("quick_gelu", False)),
    )
    return UNTRAINED[architecture].fitted(backbone, tag, sizes)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draws from a generator of its own and leaves the caller's as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def locate(name: str, *, settings: Settings) -> Path:
    """Returns where the files of a model are: its directory, or the cache that its backbone is kept in.

    Raises:
        ConfigError: nothing goes by this name.
        WeightsError: a hub repository is not cached and cannot be downloaded.
    """
    checkpoint = resolve(name, settings=settings)
    if checkpoint.tensors is not None:
        return checkpoint.tensors.parent
    return hub_cache(settings) or Path(constants.HF_HUB_CACHE)
