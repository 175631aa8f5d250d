"""A transformer over the frames of a video, as an alternative to their mean.

Zhao, Patras: "Prompting Visual-Language Models for Dynamic Facial Expression Recognition" (DFER-CLIP), BMVC 2023, arXiv
2308.13382, section 3.2; CLAIP-Emo uses the same head. docs/models/temporal-head.md lists every deviation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peclip.nn.clip_block import ClipBlock, Layout
from peclip.nn.pooling import MeanOverFrames
from peclip.nn.transformers import Block, LayerNorm


class TemporalHead(MeanOverFrames):
    """Adds to the mean what a transformer with a class token and learned positions makes of the frames.

    For the features `f_1, …, f_T` of the frames::

        z = layers([c, down(f_1) + p_1, …, down(f_T) + p_T]),   y = mean_t(f_t) + up(LN z_0)

    `up` starts at zero, so that the untrained head is the mean. Without `inner`, `down` is the identity.

    Args:
        width: D, of the features.
        num_frames: number of learned positions; for other numbers of frames they are interpolated linearly, each frame
            being the centre of its part of the window, as frames are chosen from videos.
        inner: width of the transformer, `None` for D.
        layers: number of transformer layers, with a norm before each branch.
        heads: of the attention.
        mlp_ratio: width of the hidden layer, relative to that of the transformer.
        dropout: probability that a number is dropped in training, of the input tokens and of the output.
    """

    def __init__(
        self,
        width: int,
        num_frames: int,
        *,
        inner: int | None = None,
        layers: int = 1,
        heads: int = 8,
        mlp_ratio: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        size, scale = inner or width, (inner or width) ** -0.5
        self.start = nn.Parameter(scale * torch.randn(size))
        self.positions = nn.Parameter(scale * torch.randn(num_frames, size))
        self.down = nn.Identity() if inner is None else nn.Linear(width, inner)
        self.layers = nn.ModuleList(
            ClipBlock(Block(size, heads, mlp_ratio, nn.GELU)) for _ in range(layers)
        )
        self.norm = LayerNorm(size)
        self.up = nn.Linear(size, width)
        self.dropout = dropout
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, features: Tensor, present: Tensor | None = None) -> Tensor:
        """As `MeanOverFrames.forward`; a frame that is not present counts as the mean of the others."""
        mean = super().forward(features, present)
        if present is not None:
            features = torch.where(present[..., None], features, mean[:, None])
        x = self.down(features) + self.positions_of(features.shape[1])
        x = torch.cat([self.start.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)
        x = self._drop(x)
        for layer in self.layers:
            x = layer(x, Layout(wanted=1 if layer is self.layers[-1] else None))
        change: Tensor = self.up(self._drop(self.norm(x[:, 0])))
        return mean + change

    def positions_of(self, num_frames: int) -> Tensor:
        """Returns the positions of so many frames, (T, W)."""
        if num_frames == len(self.positions):
            return self.positions
        rows = F.interpolate(self.positions.T[None], size=num_frames, mode="linear")
        return rows[0].T

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)
