"""A network together with its configuration and preprocessing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from peclip.config import ModelConfig
from peclip.labels import LabelSet
from peclip.models.base import ExpressionModel
from peclip.nn.preprocess import Preprocess


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A network, its configuration, and the preprocessing that the configuration defines."""

    network: ExpressionModel
    config: ModelConfig
    preprocess: Preprocess

    @classmethod
    def of(cls, network: ExpressionModel, config: ModelConfig) -> Self:
        """Returns a network with the preprocessing of its configuration."""
        p = config.preprocess
        return cls(network, config, Preprocess(p.image_size, p.mean, p.std, grayscale=p.grayscale))

    @property
    def labels(self) -> LabelSet:
        """The classes, in the order of the logits."""
        return self.network.labels

    def derive(self, **changes: Any) -> Self:
        """Returns the same network with some fields of its configuration changed.

        Raises:
            ConfigError: a field is unknown or its value is invalid.
        """
        return replace(self, config=self.config.derive(**changes))
