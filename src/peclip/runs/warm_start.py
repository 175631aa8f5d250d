"""Starts from a trained model of which only some parameters match."""

from __future__ import annotations

from pathlib import Path

from peclip.config import ModelConfig
from peclip.errors import CheckpointError, ConfigError
from peclip.models.base import ExpressionModel
from peclip.nn.stem import stems_of
from peclip.nn.tensor_file import copy_tensors, read_tensors
from peclip.weights.checkpoint import stored_tensors


def load_what_fits(model: ExpressionModel, config: ModelConfig, path: Path) -> list[str]:
    """Loads all parameters of a file that match the model by name and shape; the rest are unchanged.

    Returns:
        The names of trained parameters missing from the file: they are randomly initialised.

    Raises:
        CheckpointError: the file is not safetensors or corrupt, or lacks a frozen parameter.
    """
    loaded = read_tensors(path)
    fitting, fresh = {}, []
    for name, tensor in stored_tensors(model, config).items():
        if name in loaded and loaded[name].shape == tensor.shape:
            fitting[name] = tensor
        elif tensor.requires_grad:
            fresh.append(name)
        else:
            raise CheckpointError(
                f"{str(path)!r} has no {name} of shape {tuple(tensor.shape)}, which is part of the "
                f"frozen backbone {config.backbone!r}. Keep the backbone of the base model."
            )
    copy_tensors(path, loaded, fitting)
    return fresh


def load_stem(model: ExpressionModel, path: Path) -> None:
    """Initialises the convolutional stem of a backbone from weights of another network.

    Raises:
        ConfigError: the backbone has no such stem.
        CheckpointError: the file cannot be read, or lacks the layers of the stem.
    """
    stems = stems_of(model)
    if not stems:
        raise ConfigError(
            f"train.stem.weights is {str(path)!r}, but the backbone has no convolutional stem. "
            "Remove train.stem, or train nano-untrained, which has one."
        )
    for stem in stems:
        stem.load_faces(path)
