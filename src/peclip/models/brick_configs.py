"""Configurations of the bricks that several models can have."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from peclip.config import Config

Matrix = Literal["q", "k", "v", "out", "fc1", "fc2"]
Tower = Literal["vision", "text"]


class LoraConfig(Config):
    """LoRA in the blocks of CLIP; see docs/models/lora.md. The defaults are those of CLAIP-Emo."""

    rank: int = Field(8, ge=1, le=256)
    """Rank r of each update."""
    alpha: float = Field(32.0, gt=0, le=10_000)
    """Updates are scaled by alpha / rank."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability that an input of an update is dropped in training."""
    matrices: tuple[Matrix, ...] = Field(("q", "k", "v", "out", "fc1", "fc2"), min_length=1)
    """Matrices with an update: the projections of the attention, and the two layers of the MLP."""
    towers: tuple[Tower, ...] = Field(("vision",), min_length=1)
    """Towers whose blocks have updates."""

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        for name in ("matrices", "towers"):
            values: tuple[str, ...] = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} contains duplicates: {', '.join(values)}")
        return self


class TemporalHeadConfig(Config):
    """A transformer over the features of frames; see docs/models/temporal-head.md."""

    width: int | None = Field(None, ge=1, le=2048)
    """Width of the transformer; `None`: that of the features."""
    layers: int = Field(1, ge=1, le=4)
    """Number of layers."""
    heads: int = Field(8, ge=1, le=256)
    """Number of attention heads; must divide the width."""
    mlp_ratio: float = Field(2.0, gt=0, le=4)
    """Width of the hidden layer of the MLP, relative to that of the transformer."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability that a number is dropped in training, of the input tokens and of the output."""
