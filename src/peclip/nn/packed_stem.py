"""The convolutional stem for prediction on a CPU, with weights packed once.

`SeparableStem` reads and writes every activation up to three times: to pad it, to convolve it and to clamp it. The
operator that `torch.compile` uses computes a convolution and its ReLU6 in one pass; it is called directly here, so that
nothing is compiled. recipes/nano_speed.py measures it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from peclip.nn.stem import ConvReLU6, SeparableConv, SeparableStem

_IMAGES = 16
"""At a time: the activations of more do not fit into the cache, and of fewer the weights are read too often."""

_FP32_CONVOLUTIONS = 7
"""The first ones stay in fp32 where the others are in bf16. With all of them in bf16, the logits of nano differ by 0.17
from those in fp32; with the first 7 in fp32 by 0.03, for a quarter of the time that bf16 saves."""


def can_pack_stem(device: torch.device) -> bool:
    """Returns whether a packed stem is supported on a device and faster there."""
    available: Any = torch.backends.mkldnn.is_available  # without types
    # Elsewhere oneDNN may have only slow reference code for a fused activation.
    x86 = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    if device.type != "cpu" or not x86 or not available():
        return False
    operators = ("_reorder_convolution_weight", "_convolution_pointwise")
    return all(hasattr(torch.ops.mkldnn, name) for name in operators)


class PackedStem(nn.Module):
    """A `SeparableStem` that cannot be trained.

    It turns the images and the kernels by 180 degrees, and the grid back. The convolutions with stride 2, whose padding
    is only right and below, then have it only left and above. The operator has no such padding, but with the usual one
    on all sides they never read that on the right and below.

    Args:
        stem: with fp32 weights.
        dtype: of the output, and of the weights and activations from the eighth convolution on.
    """

    def __init__(self, stem: SeparableStem, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self._prepare = stem.prepare
        convolutions: list[ConvReLU6 | nn.Conv2d] = [stem.first]
        for layer in stem.layers:
            assert isinstance(layer, SeparableConv)
            convolutions += [layer.depthwise, layer.pointwise]
        first = [PackedConv(conv, torch.float32) for conv in convolutions[:_FP32_CONVOLUTIONS]]
        rest = [*convolutions[_FP32_CONVOLUTIONS:], stem.projection]
        self._layers = nn.Sequential(*first, *(PackedConv(conv, dtype) for conv in rest))

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, 3, S, S) to a grid (N, W, S/P, S/P) for patches of P pixels."""
        return torch.cat([self._encode(images) for images in torch.split(x, _IMAGES)]).flip(2, 3)

    def _encode(self, images: Tensor) -> Tensor:
        """Returns the turned grid of a few images."""
        turned = self._prepare(images).flip(2, 3)
        grid: Tensor = self._layers(turned.contiguous(memory_format=torch.channels_last))
        return grid


class PackedConv(nn.Module):
    """A convolution with a turned kernel and, of a `ConvReLU6`, its activation, in one call."""

    def __init__(self, module: ConvReLU6 | nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        conv = module.conv if isinstance(module, ConvReLU6) else module
        self._dtype = dtype
        self._bounds = [0.0, 6.0] if isinstance(module, ConvReLU6) else []
        self._padding = [side // 2 for side in conv.kernel_size]
        self._stride, self._groups = list(conv.stride), conv.groups
        with torch.no_grad():
            kernel = conv.weight.to(dtype).flip(2, 3).contiguous(memory_format=torch.channels_last)
            self._weight = torch.ops.mkldnn._reorder_convolution_weight(
                kernel, self._padding, self._stride, [1, 1], self._groups
            )
            self._bias = None if conv.bias is None else conv.bias.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, I, H, W) to (N, O, H/stride, W/stride), channels last."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x.to(self._dtype),
            self._weight,
            self._bias,
            self._padding,
            self._stride,
            [1, 1],
            self._groups,
            "hardtanh" if self._bounds else "none",
            self._bounds,
            "",
        )
        return y
