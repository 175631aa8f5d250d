"""Random augmentation of training videos: one draw per video, shared by all of its frames.

A change that differed from frame to frame would add artificial movement.
"""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

from peclip.data.augmentation_config import AugmentConfig as AugmentConfig
from peclip.data.erasing import draw_rectangle, erase
from peclip.data.rand_augment import apply_operation, draw_operations

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
        self._config, self._size = config, size

    def __call__(self, crops: Tensor, seed: int) -> Tensor:
        """Maps uint8 (T, 3, S, S) to the same shape; the seed alone decides what happens."""
        # Each has its own generator: one that is switched on or off changes no draw of the others.
        if (randomly := self._config.rand_augment) is not None:
            for operation in draw_operations(randomly, Random(f"{seed}:rand_augment")):
                crops = apply_operation(crops, operation)
        if self._transform is not None:
            # torchvision draws from the global generator. It is left as it was, and only the CPU's is seeded.
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                crops = self._transform(crops)
        if (erasing := self._config.erasing) is not None:
            rectangle = draw_rectangle(erasing, self._size, Random(f"{seed}:erasing"))
            if rectangle is not None:
                crops = erase(crops, rectangle, seed)
        return crops
