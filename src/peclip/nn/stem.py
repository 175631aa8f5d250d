"""A convolutional stem for small vision towers that are trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvStem(nn.Module):
    """Stages of a strided convolution and residual blocks, in place of the patch projection.

    A small ViT that is trained from scratch learns far better behind a convolutional stem (Xiao et al.,
    2021, "Early Convolutions Help Transformers See Better"). The batch norms learn while the backbone is
    trained; in a frozen backbone they are in eval mode and never change.

    Args:
        channels: of every stage.
        strides: of the first convolution of every stage; their product is the patch size.
        blocks: residual blocks of every stage.
        width: W of the vision tower.
        standardize: give every image a mean of 0 and a deviation of 1 first, so that light and contrast
            of a picture are nothing to be learned.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        blocks: Sequence[int],
        width: int,
        *,
        standardize: bool = False,
    ) -> None:
        super().__init__()
        self._standardize = standardize
        layers: list[nn.Module] = []
        before = 3
        for after, stride, count in zip(channels, strides, blocks, strict=True):
            layers += [*_conv_norm(before, after, stride), nn.ReLU()]
            layers += [ResidualConv(after) for _ in range(count)]
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, 3, S, S) to a grid (N, W, S/P, S/P) for patches of P pixels."""
        if self._standardize:
            x = standardize(x)
        grid: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return grid


class MatrixConv2d(nn.Conv2d):
    """A convolution that keeps its kernels (O, I, K, K) as a matrix (O, I*K*K), the form that Muon trains."""

    weight: nn.Parameter

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__(before, after, 3, stride=stride, padding=1, bias=False)
        self.weight = nn.Parameter(self.weight.detach().flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, I, H, W) to (N, O, H/stride, W/stride)."""
        kernels = self.weight.view(-1, self.in_channels, *self.kernel_size)
        return F.conv2d(x, kernels, stride=self.stride, padding=self.padding)


class ResidualConv(nn.Module):
    """`relu(x + norm(conv(relu(norm(conv(x))))))`: one refinement step of the stem.

    The last norm starts at zero, so that the block is the identity before training (Goyal et al., 2017).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = _conv_norm(channels, channels, 1), _conv_norm(channels, channels, 1)
        nn.init.zeros_(second[-1].weight)
        self.branch = nn.Sequential(*first, nn.ReLU(), *second)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C, H, W)."""
        y: Tensor = self.activation(x + self.branch(x))
        return y


def standardize(images: Tensor) -> Tensor:
    """Returns images (N, C, H, W) with a mean of 0 and a deviation of nearly 1 each.

    The deviation of an image that hardly varies is not blown up: 0.1, which is 6 grey levels at CLIP's
    normalisation, is added to it.
    """
    deviation, mean = torch.std_mean(images, dim=(1, 2, 3), correction=0, keepdim=True)
    return (images - mean) / (deviation + 0.1)


def _conv_norm(before: int, after: int, stride: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return MatrixConv2d(before, after, stride), nn.BatchNorm2d(after)
