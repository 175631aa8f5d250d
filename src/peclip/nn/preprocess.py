"""From the pixels of face crops to the input of the vision tower; the same for training and prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from peclip.errors import ConfigError

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV's and Pillow's grey conversion


def as_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Returns pixels (…, H, W, 3) as a tensor (…, 3, H, W) that shares their memory."""
    return torch.from_numpy(pixels).movedim(-1, -3)


def stack_on(device: torch.device, pixels: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Returns pixels of B windows, each (T, S, S, 3), as a tensor (B, T, 3, S, S) on a device.

    To CUDA they are copied as they are, through pinned memory, so that nothing waits for the copy.
    """
    if device.type != "cuda":
        return torch.stack([as_tensor(window) for window in pixels]).to(device)
    shape = (len(pixels), *pixels[0].shape)
    pinned = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
    torch.stack([torch.from_numpy(window) for window in pixels], out=pinned)
    return pinned.to(device, non_blocking=True).movedim(-1, -3)


class Preprocess:
    """Scales pixels to 0 to 1 and normalises them.

    Args:
        image_size: required side of the input; crops are made at this size, nothing is resized here.
        mean: per channel, of pixels in 0 to 1.
        std: per channel.
        grayscale: convert to luma first.
    """

    def __init__(
        self,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        grayscale: bool = False,
    ) -> None:
        self.image_size = image_size
        self.grayscale = grayscale
        given = (mean, std, _LUMA)
        self._constants = tuple(torch.tensor(values).view(3, 1, 1) for values in given)
        self._moved: dict[torch.device, tuple[Tensor, ...]] = {}

    def __call__(self, crops: Tensor) -> Tensor:
        """Maps uint8 (…, 3, S, S) to float32 of the same shape.

        Raises:
            ConfigError: the crops do not have the input size of the model.
        """
        if crops.shape[-2:] != (self.image_size, self.image_size):
            raise ConfigError(
                f"The model expects crops of {self.image_size}x{self.image_size} pixels; got "
                f"{crops.shape[-1]}x{crops.shape[-2]}."
            )
        mean, std, luma = self._on(crops.device)
        x = crops / 255  # float32, in one pass
        if self.grayscale:
            return ((x * luma).sum(-3, keepdim=True).expand_as(x) - mean) / std
        return x.sub_(mean).div_(std)

    def _on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Returns mean, deviation and luma on a device, copied there once: every copy waits for its work."""
        if device not in self._moved:
            with torch.inference_mode(False):  # training may use them later
                self._moved[device] = tuple(values.to(device) for values in self._constants)
        return self._moved[device]
