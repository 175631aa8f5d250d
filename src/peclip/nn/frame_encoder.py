"""The part of a vision tower that depends on each frame alone, which overlapping windows share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from peclip.nn.clip_block import Layout
from peclip.nn.towers import VisionTower


class TemporalBlock(nn.Module, ABC):
    """A block of a vision tower whose last step mixes the frames of a video."""

    @abstractmethod
    def each_frame(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Maps (N, L, W) to two tensors (N, Q, W) that depend on each frame alone; Q: output tokens."""

    @abstractmethod
    def over_time(self, parts: tuple[Tensor, Tensor], layout: Layout) -> Tensor:
        """Maps the output of `each_frame` to (N, Q, W)."""

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Maps (N, L, W) to (N, Q, W)."""
        return self.over_time(self.each_frame(x, layout), layout)


def encode_frames(
    tower: VisionTower,
    frames: Tensor,
    prompts: Sequence[Tensor] = (),
    groups: Sequence[int] = (),
) -> Tensor:
    """Computes everything before the first step over time.

    Args:
        tower: blocks other than a `TemporalBlock` must not mix frames.
        frames: (N, 3, S, S), normalised.
        prompts: as in `VisionTower.forward`.
        groups: frames of each group.

    Returns:
        (N, …), from which `encode_videos` continues.
    """
    x, first, layout = tower.embed(frames, prompts), tower.blocks[0], Layout(1, tuple(groups))
    if not isinstance(first, TemporalBlock):
        return tower.through_blocks(x, layout, prompts)
    return torch.stack(first.each_frame(x, tower.layout_at(0, layout)), dim=1)


def encode_videos(tower: VisionTower, encoded: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
    """Maps the output of `encode_frames` for the frames of videos, (B, T, …), to that of `tower.forward`."""
    first, num_frames = tower.blocks[0], encoded.shape[1]
    if not isinstance(first, TemporalBlock):
        return encoded
    before, branch = encoded.flatten(0, 1).unbind(1)
    layout = Layout(num_frames)
    x = first.over_time((before, branch), tower.layout_at(0, layout))
    features = tower.through_blocks(x, layout, prompts, first=1)
    return features.view(-1, num_frames, features.shape[1])
