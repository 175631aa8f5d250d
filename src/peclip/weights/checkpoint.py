"""Model folders: `config.json` and `model.safetensors`.

A model on a published backbone stores only its trained tensors and the backbone's name; a model whose
backbone has no published weights stores everything. Nothing is ever unpickled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from peclip.config import ModelConfig
from peclip.downloads.hub import hub_cache
from peclip.errors import CheckpointError, ConfigError
from peclip.files import locked, replacing
from peclip.models.base import ExpressionModel
from peclip.models.registry import build_model, read_config
from peclip.nn.backbone_config import least_parameters
from peclip.nn.tensor_file import copy_tensors, count_numbers, counted, read_tensors
from peclip.nn.weight_file import WeightFile
from peclip.settings import Settings
from peclip.text.bounds import read_text

CONFIG, TENSORS = "config.json", "model.safetensors"
MODEL = "model"
"""The model's subfolder in a run folder."""

_STAGE = re.compile(r"stage-[0-9]{1,3}-[a-z][a-z0-9_-]*")
_DEBUG_SEED = 20260101
_LARGE = 2**25  # parameters: 128 MiB in fp32; less is no harm to build


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A configuration, and the tensors to load into its network."""

    name: str
    revision: str
    config: ModelConfig
    tensors: Path | None
    """`None`: freshly initialised adapters."""


def stage_name(number: int, name: str) -> str:
    """Returns the name of the folder of a stage in the folder of its run; the first stage has the number 1."""
    return f"stage-{number}-{name}"


def is_stage(folder: Path) -> bool:
    """Returns whether a folder is that of a stage, judging by its name."""
    return _STAGE.fullmatch(folder.name) is not None


def last_stage(folder: Path) -> Path:
    """Returns the folder of the last stage of a run in stages; any other folder is returned unchanged."""
    try:
        stages = [entry for entry in folder.iterdir() if is_stage(entry) and entry.is_dir()]
    except (OSError, ValueError):  # a name that is not a path, as in resolve
        return folder
    return max(stages, key=lambda stage: int(stage.name.split("-")[1]), default=folder)


def model_folder(folder: Path) -> Path:
    """Returns the model folder of a run folder; any other folder is returned unchanged."""
    if os.path.isfile(folder / CONFIG):
        return folder
    inner = last_stage(folder) / MODEL
    # As in resolve: a name that is not a path is not a folder.
    return inner if os.path.isdir(inner) else folder


def _models_of_run(folder: Path) -> str:
    """Returns the sentence that names the models of a run without a model of its own; empty for any other folder."""
    last = last_stage(folder)
    if folds := sorted(str(fold.parent) for fold in last.glob(f"fold-*/{MODEL}")):
        return f" This run has one model per fold; use one of them, such as {folds[0]!r}."
    if last == folder:
        return ""
    done = sorted(str(stage.parent) for stage in folder.glob(f"stage-*/{MODEL}"))
    other = f", or use the model of an earlier stage, such as {done[-1]!r}" if done else ""
    return f" Finish this run with peclip train --resume {str(folder)!r}{other}."


def read_checkpoint(
    folder: Path, *, name: str, revision: str = "", with_tensors: bool = True
) -> Checkpoint:
    """Reads the configuration of a model directory.

    Raises:
        CheckpointError: a file is missing or the configuration is invalid.
    """
    for file in (CONFIG, TENSORS) if with_tensors else (CONFIG,):
        if not (folder / file).is_file():
            raise CheckpointError(
                f"{file} is missing from {str(folder)!r}. A peclip model directory contains "
                f"{CONFIG} and {TENSORS}, as written by save_pretrained.{_models_of_run(folder)}"
            )
    try:
        text = read_text(folder / CONFIG)
    except ConfigError as error:
        raise CheckpointError(f"{str(folder / CONFIG)!r} cannot be used: it {error}.") from None
    try:
        config = read_config(text)
    except ConfigError as error:
        raise CheckpointError(f"{str(folder / CONFIG)!r} cannot be used: {error}") from None
    if config.pretrained is not None and _is_local(config.pretrained):
        raise CheckpointError(
            f"{str(folder / CONFIG)!r} cannot be used: pretrained names a file of another machine. Save the model again; "
            "a model on the weights of a local file stores them."
        )
    return Checkpoint(name, revision, config, folder / TENSORS)


def load_model(
    checkpoint: Checkpoint, *, settings: Settings, seed: int = _DEBUG_SEED
) -> ExpressionModel:
    """Builds the network of a checkpoint on the CPU in eval mode.

    Args:
        checkpoint: what to load.
        settings: cache, network and token.
        seed: for parameters missing from the checkpoint; fixed, unless a training sets another one.

    Raises:
        WeightsError: the weights of the backbone are unavailable.
        CheckpointError: the tensors do not fit the configuration.
    """
    if checkpoint.tensors is not None:
        _check_size(checkpoint.config, checkpoint.tensors)
    full = checkpoint.tensors is not None and checkpoint.config.pretrained is None
    with _seeded(seed), _Undrawn() if full else nullcontext():
        model = build_model(
            checkpoint.config, cache_dir=hub_cache(settings), offline=settings.offline
        )
    if checkpoint.tensors is not None:
        load_tensors(model, checkpoint.config, checkpoint.tensors)
    return model.eval()


def _check_size(config: ModelConfig, path: Path) -> None:
    """Checks that a file which stores everything is large enough for a large backbone, before it is built.

    A small backbone may be built in any case: afterwards, the misfit of each tensor is named.

    Raises:
        CheckpointError: it is not, or is corrupt.
    """
    least = least_parameters(config.backbone)
    if config.pretrained is not None or least < _LARGE:
        return
    held = count_numbers(path)
    if held < least:
        raise CheckpointError(
            f"{str(path)!r} does not fit {config.architecture} on {config.backbone}: it contains {held:,} parameters, "
            f"but this backbone has at least {least:,} parameters. Use the {CONFIG} saved with it."
        )


def load_tensors(model: ExpressionModel, config: ModelConfig, path: Path) -> None:
    """Loads exactly the stored parameters of a model from a safetensors file.

    Raises:
        CheckpointError: not a safetensors file or a corrupt one, or its names or shapes do not match
            the model.
    """
    loaded = read_tensors(path)
    expected = stored_tensors(model, config)
    if problem := misfit(loaded, expected):
        raise CheckpointError(
            f"{str(path)!r} does not match {config.architecture} on {config.backbone}: {problem}. "
            f"Use the {CONFIG} saved with it."
        )
    copy_tensors(path, loaded, expected)


def misfit(loaded: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """Describes tensors that are missing, unexpected or of the wrong shape; `None` if all match."""
    missing, unexpected = sorted(expected.keys() - loaded), sorted(loaded.keys() - expected)
    wrong = [
        f"{name} is {tuple(loaded[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & loaded.keys())
        if loaded[name].shape != expected[name].shape
    ]
    if not (missing or unexpected or wrong):
        return None
    return (
        f"{counted('parameters missing', missing)}, {counted('unexpected', unexpected)}, "
        f"{counted('with the wrong shape', wrong)}"
    )


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
        full: store the backbone too, so that the folder needs no download; always, if its weights are a local file.
        half: store fp16; loaded models compute in fp32 again.

    Raises:
        ConfigError: the folder cannot be written, or another process is writing to it.
    """
    if full or config.pretrained is None or _is_local(config.pretrained):
        config = config.self_contained()
    tensors = {
        name: (tensor.detach().half() if half and tensor.is_floating_point() else tensor.detach())
        .to("cpu")
        .contiguous()
        for name, tensor in stored_tensors(model, config).items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):  # the files of two models must not be mixed
            with replacing(folder / TENSORS) as partial:
                save_file(tensors, partial, metadata={"format": "pt"})
                partial.chmod(0o644)  # safetensors makes files that only their owner can read
            with replacing(folder / CONFIG) as partial:
                partial.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"The model cannot be saved in {str(folder)!r}: {error}") from None


def _is_local(pretrained: str) -> bool:
    file = WeightFile.parse(pretrained)
    return file is not None and file.is_local


def stored_tensors(model: ExpressionModel, config: ModelConfig) -> dict[str, Tensor]:
    """Returns the parameters to store in a checkpoint, by name, and the statistics of norms."""
    whole = config.pretrained is None
    found: dict[str, Tensor] = {
        name: parameter
        for name, parameter in model.named_parameters()  # shared parameters appear once
        if parameter.requires_grad or whole
    }
    kept = model.state_dict() if whole else {}
    return found | {name: buffer for name, buffer in model.named_buffers() if name in kept}


_DRAWING = (
    Tensor.uniform_,
    Tensor.normal_,
    init.uniform_,
    init.normal_,
    init.kaiming_uniform_,
    init.kaiming_normal_,
    init.xavier_uniform_,
)


class _Undrawn(TorchFunctionMode):
    """Leaves new parameters as they are allocated, because the file of a full model has all of them."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draws from a separate generator and leaves the caller's unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
