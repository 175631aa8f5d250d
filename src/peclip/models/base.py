"""The interface of every expression model for training, evaluation and prediction."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peclip.config import ModelConfig, TowerSize
from peclip.errors import ConfigError
from peclip.labels import LabelSet, prior_over
from peclip.models.descriptions import EXPRESSION
from peclip.nn.clip import Backbone
from peclip.nn.clip_block import ClipBlock
from peclip.nn.towers import VisionTower
from peclip.types import Batch

MAX_ADDED = 300_000_000
"""Maximum number of parameters that a configuration may add to a backbone: 1.2 GB in fp32."""


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """Output of a model for a batch."""

    logits: Tensor
    """(B, C)"""
    video_features: Tensor
    """(B, D), unit length."""
    label_features: Tensor
    """(C, D), unit length: the label features that the videos were compared with."""


class ExpressionModel(nn.Module, ABC):
    """A network that compares videos with the texts of labels."""

    labels: LabelSet
    texts: tuple[str, ...]
    own_texts: Mapping[str, str] = MappingProxyType({})
    """Custom texts by label name, included in `texts`."""
    sentence = EXPRESSION
    """For labels without a text."""
    temperature: float
    mirror = False
    """Whether predictions average a window and its mirror image; applied by `FrozenModel`."""

    prior: Mapping[str, float] | None = None
    """Frequency of each label as training target, if known."""
    label_frequencies: Mapping[str, float] | None = None
    """Frequency of each label among the training videos, if known."""
    prior_weight: float | None = None
    """See `peclip.config.ModelConfig.prior_weight`; applied in predictions by `FrozenModel`, never in the loss."""

    @abstractmethod
    def encode_labels(self) -> Tensor:
        """Returns the features of the labels' texts, unit length, C rows of D at the end of the shape.

        They are computed once per evaluation, and only `forward` interprets them.
        """

    @abstractmethod
    def forward(self, batch: Batch, label_features: Tensor | None = None) -> Output:
        """Compares the videos of a batch with the labels."""

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Computes what depends on each frame alone.

        Args:
            frames: (N, 3, S, S), normalised.

        Returns:
            (N, …), from which `forward` continues (`Batch.encoded`).
        """
        raise NotImplementedError

    @property
    def shares_frames(self) -> bool:
        """Whether the model has `encode_frames`: predictions then compute it once per frame, for all windows."""
        return type(self).encode_frames is not ExpressionModel.encode_frames

    def compare(self, features: Tensor, label_features: Tensor) -> Output:
        """Returns cosines of features (B, D) with those of the labels, divided by the temperature.

        At least in fp32: logits of 16 to 32 in bf16 are multiples of 0.125, and many would be equal.
        """
        dtype = torch.promote_types(features.dtype, torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            features = F.normalize(features.to(dtype), dim=-1)
            logits = features @ label_features.to(dtype).T / self.temperature
        return Output(logits, features, label_features)

    def loss(self, output: Output, targets: Tensor) -> Tensor:
        """Returns the mean cross-entropy of the logits against soft targets (B, C)."""
        return F.cross_entropy(output.logits, targets)

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns all parameters by the part of the network that they belong to."""

    @abstractmethod
    def checkpoint_activations(self, enabled: bool) -> None:
        """Recomputes activations in the backward pass to save memory; results are unchanged."""

    def drop_path(self, rate: float) -> None:
        """Sets the probability that a video skips the last block of the video encoders; 0 for predictions.

        Raises:
            ConfigError: there is a rate, but no block that could be skipped.
        """
        towers = [encoder for encoder in self.encoders() if isinstance(encoder, VisionTower)]
        if rate and not towers:
            raise ConfigError(
                f"drop_path is {rate}, but {type(self).__name__} has no vision tower of CLIP, whose "
                "blocks could be skipped. Set train.drop_path=0."
            )
        for tower in towers:
            tower.drop_path = rate

    @abstractmethod
    def encoders(self) -> list[nn.Module]:
        """Returns the video encoders, which take nearly all of the time."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """Tokens that attend to each other in a frame."""

    @property
    def prompt_depth(self) -> int:
        """Layers of the video encoder, from the first on, before which the prompt tokens are new; 0 without prompts."""
        return 0

    def with_modules(self, replaced: Mapping[nn.Module, nn.Module]) -> Self:
        """Returns a copy with some of its modules, such as encoders, replaced; it shares the others."""
        parts: dict[int, object] = {id(child): child for child in self.children()}
        return copy.deepcopy(self, parts | {id(old): new for old, new in replaced.items()})

    @abstractmethod
    def describe(self, labels: LabelSet, own: Mapping[str, str]) -> tuple[str, ...]:
        """Returns one text per label, in their order; custom texts take precedence."""

    def with_labels(self, labels: LabelSet, own: Mapping[str, str] | None = None) -> Self:
        """Returns a model with the same modules and other labels.

        The prior is kept, unless a label is new (see `prior_over`).

        Args:
            labels: the classes.
            own: custom texts by label name.
        """
        model = copy.copy(self)
        model.labels, model.own_texts = labels, own or {}
        model.texts = self.describe(labels, model.own_texts)
        model.prior = prior_over(labels, self.prior)
        model.label_frequencies = prior_over(labels, self.label_frequencies)
        model.prior_weight = None if model.prior is None else self.prior_weight
        return model


def check_fit(config: ModelConfig, backbone: Backbone) -> None:
    """Checks that a configuration matches its backbone.

    Raises:
        ConfigError: the activation or the image size differs, or the model would be far larger than its
            backbone.
    """
    if config.quick_gelu != backbone.quick_gelu:
        raise ConfigError(
            f"The configuration has quick_gelu={config.quick_gelu}, but the backbone "
            f"{config.backbone!r} has quick_gelu={backbone.quick_gelu}. Set quick_gelu to match "
            "the activation that the weights were trained with; otherwise, the features will be "
            "wrong."
        )
    if config.preprocess.image_size != backbone.vision.image_size:
        raise ConfigError(
            f"The backbone {config.backbone!r} takes images of {backbone.vision.image_size} "
            f"pixels, but preprocess.image_size is {config.preprocess.image_size}. Set "
            f"preprocess.image_size to {backbone.vision.image_size}."
        )
    sizes = (TowerSize(len(t.blocks), t.width) for t in (backbone.vision, backbone.text))
    if (added := config.added_parameters(*sizes)) > MAX_ADDED:
        raise ConfigError(
            f"The configuration adds {added:,} parameters to the backbone {config.backbone!r}, and at most "
            f"{MAX_ADDED:,} are supported. Reduce the widths of its adapters."
        )


def clip_block(block: nn.Module) -> ClipBlock:
    """Returns an unadapted block of a tower."""
    assert isinstance(block, ClipBlock), "a tower is adapted once"
    return block
