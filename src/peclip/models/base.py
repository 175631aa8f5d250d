"""What every expression model offers to training, evaluation and prediction."""

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

from peclip.config import ModelConfig
from peclip.errors import ConfigError
from peclip.labels import LabelSet, prior_over
from peclip.nn.clip import Backbone
from peclip.nn.towers import ClipBlock
from peclip.types import Batch


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What a model says about a batch."""

    logits: Tensor
    """(B, C)"""
    video_features: Tensor
    """(B, D), unit length."""
    label_features: Tensor
    """(C, D), unit length: what the videos were compared with, one for each label."""


class ExpressionModel(nn.Module, ABC):
    """A network that compares videos with the texts of labels."""

    labels: LabelSet
    texts: tuple[str, ...]
    own_texts: Mapping[str, str] = MappingProxyType({})
    """Texts of the user's own by label name, which are among `texts`."""
    temperature: float
    mirror = False
    """Whether an answer is the mean over a window and its mirror image; `FrozenModel` sees to it."""

    prior: Mapping[str, float] | None = None
    """How often each label was the target in training, where that is known."""
    prior_weight: float = 0.0
    """Weight of the logarithm of the prior in predictions, never in the loss; `FrozenModel` sees to it."""

    @abstractmethod
    def encode_labels(self) -> Tensor:
        """Returns the features of the labels' texts, unit length, C rows of D at the end of the shape.

        They are computed once per evaluation, and only `forward` looks into them.
        """

    @abstractmethod
    def forward(self, batch: Batch, label_features: Tensor | None = None) -> Output:
        """Compares the videos of a batch with the labels."""

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
        """Keeps less for the backward pass and computes it anew there; no number changes."""

    @abstractmethod
    def encoders(self) -> list[nn.Module]:
        """Returns the encoders of the videos, where nearly all of the time goes."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """Tokens that attend to each other in a frame."""

    @abstractmethod
    def describe(self, labels: LabelSet, own: Mapping[str, str]) -> tuple[str, ...]:
        """Returns one text per label, in their order; a text of the user's own comes first."""

    def with_labels(self, labels: LabelSet, own: Mapping[str, str] | None = None) -> Self:
        """Returns a model of the same modules that answers with other labels.

        The prior is kept, unless a label is new (see `prior_over`).

        Args:
            labels: the classes.
            own: texts of the user's own by label name.
        """
        model = copy.copy(self)
        model.labels, model.own_texts = labels, own or {}
        model.texts = self.describe(labels, model.own_texts)
        model.prior = prior_over(labels, self.prior)
        model.prior_weight = 0.0 if model.prior is None else self.prior_weight
        return model


def check_fit(config: ModelConfig, backbone: Backbone) -> None:
    """Checks what a configuration says of its backbone.

    Raises:
        ConfigError: its activation or its image size is another one.
    """
    if config.quick_gelu != backbone.quick_gelu:
        raise ConfigError(
            f"The configuration says quick_gelu={config.quick_gelu}, and the backbone "
            f"{config.backbone!r} has quick_gelu={backbone.quick_gelu}. Loaded so, CLIP would be "
            "silently wrong; set the field to the activation that the weights were trained with."
        )
    if config.preprocess.image_size != backbone.vision.image_size:
        raise ConfigError(
            f"The backbone {config.backbone!r} takes images of {backbone.vision.image_size} pixels, and "
            f"preprocess.image_size is {config.preprocess.image_size}."
        )


def clip_block(block: nn.Module) -> ClipBlock:
    """Returns a block of a tower that was not adapted yet."""
    assert isinstance(block, ClipBlock), "a tower is adapted once"
    return block
