"""The model that a training starts from, of which only some parameters may match."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from peclip.config import ModelConfig
from peclip.errors import CheckpointError, ConfigError
from peclip.labels import LabelSet
from peclip.models.base import ExpressionModel
from peclip.nn.stem import stems_of
from peclip.nn.tensor_file import copy_tensors, read_tensors
from peclip.recognizers.recognizer import Recognizer, recognizer_class
from peclip.runs.recipe import RunConfig, model_config
from peclip.runtime import choose_precision
from peclip.settings import load_settings
from peclip.weights.checkpoint import load_model, stored_tensors
from peclip.weights.resolve import resolve


def base_recognizer(
    config: RunConfig, labels: LabelSet, device: torch.device
) -> tuple[Recognizer, list[str]]:
    """Loads the base model, with the changes of the run and the labels of the data.

    Returns:
        The model, and the names of trained parameters missing from its base.
    """
    settings = load_settings()
    base = resolve(config.base, settings=settings)
    own = base.config
    if set(labels) != set(own.labels):  # otherwise keep the order of the base
        own = own.with_labels(labels.names, {})
    changed = replace(base, config=model_config(own, config.model))
    fresh: list[str] = []
    seed = config.train.seed
    if base.tensors is None or not config.model:
        model = load_model(changed, settings=settings, seed=seed)
    else:
        model = load_model(replace(changed, tensors=None), settings=settings, seed=seed)
        fresh = load_what_fits(model, changed.config, base.tensors)
    if config.train.stem.weights is not None:
        load_stem(model, config.train.stem.weights)
    recognizer = recognizer_class(changed.config.architecture)(
        model,
        changed.config,
        name=base.name,
        revision=base.revision,
        device=device,
        precision=choose_precision(config.train.precision, device),
    )
    return recognizer, fresh


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
        elif name.startswith("audio."):
            continue  # the encoder has weights of its own, which are loaded
        else:
            raise CheckpointError(
                f"{str(path)!r} has no {name} of shape {tuple(tensor.shape)}, which the frozen "
                f"backbone {config.backbone!r} requires. Use the same backbone as the base model."
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
            "Remove train.stem, or train nano-untrained, which has such a stem."
        )
    for stem in stems:
        stem.load_faces(path)
