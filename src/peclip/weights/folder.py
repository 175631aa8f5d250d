"""Model folders: finding them and reading their configuration, without torch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from peclip.config import ModelConfig
from peclip.errors import CheckpointError, ConfigError
from peclip.models.registry import read_config
from peclip.nn.weight_name import is_local_file
from peclip.text.bounds import read_text

CONFIG, TENSORS = "config.json", "model.safetensors"
MODEL = "model"
"""The model's subfolder in a run folder."""
_STAGE = re.compile(r"stage-[0-9]{1,3}-[a-z][a-z0-9_-]*")


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


def is_fold(folder: Path) -> bool:
    """Returns whether a folder is that of a fold, judging by its name."""
    return re.fullmatch(r"fold-\d+", folder.name) is not None


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


def model_of(name: str | Path, fold: int | None) -> str | Path:
    """Returns the model of a fold: the one in the run folder, or the name itself if it is not a run.

    Raises:
        ConfigError: it is the folder of a run with all folds, and this fold has no model.
    """
    if not os.path.isdir(name):
        return name
    folder = last_stage(Path(name))
    if any(folder.glob(f"fold-*/{MODEL}")):
        found = folder / f"fold-{fold}" / MODEL
        if not found.is_dir():
            raise ConfigError(
                f"{str(name)!r} has one model per fold, but none for fold {fold}. Use --fold all "
                "or the number of a finished fold, or finish the run: peclip train --resume."
            )
        return found
    found = model_folder(folder)
    return name if found == folder else found


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
    if config.pretrained is not None and is_local_file(config.pretrained):
        raise CheckpointError(
            f"{str(folder / CONFIG)!r} cannot be used: pretrained names a file of another machine. Save the model again; "
            "a model on the weights of a local file stores them."
        )
    return Checkpoint(name, revision, config, folder / TENSORS)
