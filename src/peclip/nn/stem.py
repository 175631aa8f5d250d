"""A convolutional stem for small vision towers: MobileNetV1 up to its pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peclip.errors import CheckpointError
from peclip.nn.tensor_file import copy_tensors, read_tensors

_PIXEL_MEAN = (123.68, 116.779, 103.939)
"""RGB mean in grey levels, subtracted by VGGFace2's networks."""
_GREY, _CONTRAST = 115.0, 55.0
"""Mean and standard deviation of a typical face in grey levels: the target of standardisation."""


class SeparableStem(nn.Module):
    """Depthwise separable convolutions in place of the patch projection of a ViT.

    The layers are those of MobileNetV1 (Howard et al., 2017, Table 1) with the batch norms folded into the
    convolutions, so that the weights of a network that was trained to recognise faces fit (`load_faces`). A
    small ViT learns far better after convolutions (Xiao et al., 2021, "Early Convolutions Help Transformers
    See Better"). Every image is standardized first, because light and contrast carry no expression.

    Args:
        channels: of the first convolution, which has stride 2, and then of every separable layer.
        strides: of every separable layer; twice their product is the patch size.
        width: W of the vision tower.
    """

    pixel_mean: Tensor

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        super().__init__()
        self.first = ConvReLU6(3, channels[0], 3, stride=2)
        pairs = zip(channels, channels[1:], strides, strict=False)
        self.layers = nn.Sequential(*(SeparableConv(*sizes) for sizes in pairs))
        self.projection = nn.Conv2d(channels[-1], width, 1)
        mean = torch.tensor(_PIXEL_MEAN).view(3, 1, 1)
        self.register_buffer("pixel_mean", mean, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, 3, S, S) to a grid (N, W, S/P, S/P) for patches of P pixels."""
        x = self.prepare(x).to(self.first.conv.weight.dtype)
        x = self.first(x.contiguous(memory_format=torch.channels_last))
        grid: Tensor = self.projection(self.layers(x))
        return grid

    def prepare(self, x: Tensor) -> Tensor:
        """Maps images (N, 3, S, S) to the input of the first convolution, of the same shape."""
        return _CONTRAST * standardize(x) + (_GREY - self.pixel_mean)

    def trunk(self, layers: int | None = None) -> list[nn.Parameter]:
        """Returns the parameters of the first convolution and of the first layers, by default of all."""
        return [*self.first.parameters(), *self.layers[:layers].parameters()]

    def load_faces(self, path: Path) -> None:
        """Loads a face recognition MobileNetV1: all layers except the projection.

        Args:
            path: safetensors with `conv1`, `dw.0` … and `pw.0` …, each `.weight` and `.bias`, batch norms
                folded in, for BGR input.

        Raises:
            CheckpointError: it cannot be read, or its layers do not match this stem.
        """
        loaded = read_tensors(path)
        own: dict[str, ConvReLU6] = {"conv1": self.first}
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, SeparableConv)
            own |= {f"dw.{number}": layer.depthwise, f"pw.{number}": layer.pointwise}
        into = {
            f"{name}.{kind}": getattr(module.conv, kind)
            for name, module in own.items()
            for kind in ("weight", "bias")
        }
        wrong = sorted(
            name
            for name in into.keys() | loaded.keys()
            if name not in into or name not in loaded or loaded[name].shape != into[name].shape
        )
        if wrong:
            raise CheckpointError(
                f"The layers in {str(path)!r} do not match this stem: {len(wrong)} tensors are "
                f"missing, unexpected or of the wrong shape; the first one is {wrong[0]!r}. Use "
                f"the weights of a MobileNetV1 with {len(self.layers)} depthwise-separable layers "
                "and folded batch norms."
            )
        loaded["conv1.weight"] = loaded["conv1.weight"].flip(1)  # BGR to RGB
        copy_tensors(path, loaded, into)


class SeparableConv(nn.Module):
    """A depthwise convolution followed by a pointwise one."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.depthwise = ConvReLU6(before, before, 3, stride=stride, groups=before)
        self.pointwise = ConvReLU6(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, I, H, W) to (N, O, H/stride, W/stride)."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class ConvReLU6(nn.Module):
    """A convolution and ReLU6, padded like TensorFlow's "SAME": at stride 2 only right and below."""

    def __init__(
        self, before: int, after: int, side: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        padding = side // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(before, after, side, stride, padding, groups=groups)
        # There are no norm layers that would correct the scale of the activations.
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)
        self._halves = stride == 2

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, I, H, W) to (N, O, H/stride, W/stride)."""
        if not self._halves:
            return F.relu6(self.conv(x), inplace=True)
        x = F.pad(x, (0, 1, 0, 1))
        # On a CPU the gradient of a strided depthwise convolution takes a hundred times as long in bf16.
        slow = x.device.type == "cpu" and torch.is_grad_enabled()
        with torch.autocast("cpu", enabled=False) if slow else nullcontext():
            return F.relu6(self.conv(x.float() if slow else x), inplace=True)


def stems_of(model: nn.Module) -> list[SeparableStem]:
    """Returns the convolutional stems of a model."""
    return [module for module in model.modules() if isinstance(module, SeparableStem)]


def standardize(images: Tensor) -> Tensor:
    """Returns images (N, C, H, W) with a mean of 0 and a deviation of nearly 1 each.

    Adding 0.1 to the deviation, 6 grey levels at CLIP's normalisation, avoids amplifying nearly constant
    images.
    """
    # torch.std_mean takes several times as long on a CPU.
    centered = images - images.mean((1, 2, 3), keepdim=True)
    norm = torch.linalg.vector_norm(centered, dim=(1, 2, 3), keepdim=True)
    return centered / (norm / math.sqrt(images[0].numel()) + 0.1)
