"""Starting from a trained model whose parts are not all wanted, or not in the same size."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from peclip.config import ModelConfig
from peclip.errors import CheckpointError
from peclip.models.base import ExpressionModel
from peclip.weights import stored_tensors


def load_what_fits(model: ExpressionModel, config: ModelConfig, path: Path) -> list[str]:
    """Loads all parameters of a file that the model has in the same size; the rest stay as they are.

    Returns:
        The names of trained parameters that the file does not have: they start fresh.

    Raises:
        CheckpointError: it is no safetensors file, or a frozen parameter is not in it.
    """
    try:
        loaded = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{str(path)!r} is not a complete safetensors file: {error}."
        ) from None
    fresh = []
    with torch.no_grad():
        for name, tensor in stored_tensors(model, config).items():
            if name in loaded and loaded[name].shape == tensor.shape:
                tensor.copy_(loaded[name])
            elif tensor.requires_grad:
                fresh.append(name)
            else:
                raise CheckpointError(
                    f"{str(path)!r} has no {name} of shape {tuple(tensor.shape)}, which is part of the "
                    f"frozen backbone {config.backbone!r}. Leave its backbone as it is."
                )
    return fresh
