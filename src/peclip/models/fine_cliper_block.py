"""A layer of FineCLIPER's encoders: Chen et al., 2024, arXiv 2407.02157, Figure 2."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from peclip.nn.adapters import Adapter, Bottleneck, GroupedAdapters
from peclip.nn.clip_block import ClipBlock, Layout


class FineCLIPERBlock(nn.Module):
    """A layer of either tower: `x + A(MSA(LN x))`, then `x + MLP(LN x) + s * B(LN x)` (Figure 2).

    A has an inner residual and B does not, as in AIM (Yang et al., 2023), whose layout the figure shows.
    Every stream has a separate A and B; the rest is CLIP, frozen and shared.
    """

    def __init__(
        self, block: ClipBlock, width: int, bottlenecks: Sequence[int], scale: float
    ) -> None:
        super().__init__()
        self.block = block
        self.scale = scale
        self.after_attention = GroupedAdapters(Adapter(width, size) for size in bottlenecks)
        self.beside_mlp = GroupedAdapters(Bottleneck(width, size) for size in bottlenecks)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Maps (N, L, W) to (N, Q, W), the output tokens; `layout.groups` are the rows of each stream."""
        attended = self.block.attention(x, layout)
        x = x[:, : layout.wanted] + self.after_attention(attended, layout.groups)
        return x + self.block.mlp(x, lambda y: self.scale * self.beside_mlp(y, layout.groups))
