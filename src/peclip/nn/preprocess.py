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
        self._mean = torch.tensor(mean).view(3, 1, 1)
        self._std = torch.tensor(std).view(3, 1, 1)

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
        x = crops.float() / 255
        if self.grayscale:
            luma = torch.tensor(_LUMA, device=x.device).view(3, 1, 1)
            x = (x * luma).sum(-3, keepdim=True).expand_as(x)
        normalised: Tensor = (x - self._mean.to(x.device)) / self._std.to(x.device)
        return normalised
