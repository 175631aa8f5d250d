"""Random augmentation of training videos: one draw per video, shared by all of its frames.

A change that differed from frame to frame would add artificial movement.
"""

from __future__ import annotations

import torch
from torch import Tensor

from peclip.data.augmentation_config import AugmentConfig as AugmentConfig

NO_AUGMENTATION = AugmentConfig(
    crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, brightness=0, rotation=0
)


class Augmentation:
    """Augments a video according to an `AugmentConfig`.

    Args:
        config: the augmentations.
        size: side of the square images.
    """

    def __init__(self, config: AugmentConfig, size: int) -> None:
        # On use, because a prediction imports this file and torchvision takes as long as torch.
        from torchvision.transforms import v2

        steps: list[v2.Transform] = []
        if config.rotation:
            steps.append(v2.RandomRotation(config.rotation, v2.InterpolationMode.BILINEAR))
        if config.crop_scale != (1, 1) or config.crop_ratio != (1, 1):
            steps.append(
                v2.RandomResizedCrop(
                    size, scale=config.crop_scale, ratio=config.crop_ratio, antialias=True
                )
            )
        if config.flip:
            steps.append(v2.RandomHorizontalFlip(config.flip))
        if config.brightness:
            steps.append(v2.ColorJitter(brightness=config.brightness))
        self._transform = v2.Compose(steps) if steps else None

    def __call__(self, crops: Tensor, seed: int) -> Tensor:
        """Maps uint8 (T, 3, S, S) to the same shape; the seed alone decides what happens."""
        if self._transform is None:
            return crops
        # torchvision draws from the global generator. It is left as it was, and only the CPU's is seeded.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            changed: Tensor = self._transform(crops)
        return changed
