"""A convolutional stem for small vision towers that are trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class ConvStem(nn.Module):
    """Three strided convolutions with residual refinement in place of the patch projection.

    A small ViT that is trained from scratch learns far better behind a convolutional stem (Xiao et al.,
    2021, "Early Convolutions Help Transformers See Better"). There is no normalisation layer here:
    batch norms of the training are folded into the convolutions, so that a frozen stem has no state.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for after in channels:
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GELU()]
            layers += [ResidualConv(after)]
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, 3, S, S) to a grid (N, W, S/8, S/8) for three stages."""
        grid: Tensor = self.layers(x)
        return grid


class ResidualConv(nn.Module):
    """`x + conv(gelu(conv(x)))`, then GELU: one refinement step of the stem."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C, H, W)."""
        y: Tensor = self.activation(x + self.second(self.activation(self.first(x))))
        return y
