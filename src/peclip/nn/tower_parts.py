"""The parts of towers, by what they can do: class token or pooling, causal or full mask, learned or rotary positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from peclip.nn.token_pooling import Pooling

TextPooling = Literal["argmax", "eos", "first", "last"]


class UnsupportedTower(Exception):
    """Why a tower cannot be adapted: the end of a sentence that begins with its name and "cannot be adapted:"."""


@dataclass(frozen=True, slots=True, eq=False)
class VisionParts:
    """An image encoder: patches, class token and positions, blocks, pooling, projection."""

    image_size: int
    patch_embedding: nn.Module
    """Maps (N, 3, S, S) to (N, W, G, G)."""
    class_embedding: nn.Parameter | None
    """(W,)"""
    positional_embedding: nn.Parameter
    """(G * G, W), or (1 + G * G, W) with a row for the class token."""
    ln_pre: nn.Module
    blocks: Sequence[nn.Module]
    """In the layout of open_clip."""
    pool: Pooling
    """Maps (N, L, W) to (N, W)."""
    ln_post: nn.Module
    """Applied after pooling."""
    projection: nn.Parameter | None
    """(W, D)"""
    projection_bias: nn.Parameter | None = None
    """(D,)"""


@dataclass(frozen=True, slots=True, eq=False)
class TextParts:
    """A text encoder: tokens and positions, blocks, pooling, projection."""

    token_embedding: nn.Embedding
    positional_embedding: nn.Parameter
    """(L, W)"""
    blocks: Sequence[nn.Module]
    ln_final: nn.Module
    projection: nn.Parameter | None
    """(W, D)"""
    projection_bias: nn.Parameter | None
    """(D,)"""
    mask: Tensor | None
    """(L, L), additive and causal; `None`: every token attends to all, including the padding."""
    pooling: TextPooling
    """The token that is the feature: the one with the highest number, the end token, or the first or last place."""
    end_token: int
    """Of the pooling `eos`."""
