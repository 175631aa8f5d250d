"""Starting from a trained model whose parts are not all wanted, or not in the same size."""

from __future__ import annotations

from pathlib import Path

from peclip.config import ModelConfig
from peclip.errors import CheckpointError, ConfigError
from peclip.models.base import ExpressionModel
from peclip.nn.stem import stems_of
from peclip.nn.tensor_file import copy_tensors, read_tensors
from peclip.weights.checkpoint import stored_tensors


def load_what_fits(model: ExpressionModel, config: ModelConfig, path: Path) -> list[str]:
    """Loads all parameters of a file that the model has in the same size; the rest stay as they are.

    Returns:
        The names of trained parameters that the file does not have: they start fresh.

    Raises:
        CheckpointError: it is no safetensors file or a damaged one, or a frozen parameter is not in it.
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
                f"frozen backbone {config.backbone!r}. Leave its backbone as it is."
            )
    copy_tensors(path, loaded, fitting)
    return fresh


def load_stem(model: ExpressionModel, path: Path) -> None:
    """Starts the convolutional stem of a backbone from weights of another network.

    Raises:
        ConfigError: the backbone has no such stem.
        CheckpointError: the file cannot be read, or does not hold the layers of the stem.
    """
    stems = stems_of(model)
    if not stems:
        raise ConfigError(
            f"train.stem.weights is {str(path)!r}, and the backbone has no convolutional stem to start from it. "
            "Remove train.stem, or train nano-untrained, which has one."
        )
    for stem in stems:
        stem.load_faces(path)
