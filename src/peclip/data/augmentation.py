"""Random changes of training videos: one draw per video, the same for all of its frames.

A change that differed from frame to frame would add artificial movement.
"""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torchvision.transforms import v2

from peclip.config import Config


class AugmentConfig(Config):
    """How training videos are changed. The defaults are the release's for DFEW and AFEW."""

    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Part of the picture's area that is cut out; (1, 1) together with ratios of 1 cuts nothing."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width by height of what is cut out, before it is made square again."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability of a mirror image."""
    brightness: float = Field(0.5, ge=0, le=1)
    """Brightness is multiplied by 1 minus to 1 plus this; the release's for FERV39k is 0."""
    rotation: float = Field(0.0, ge=0, le=180)
    """Degrees to either side; the release's for FERV39k is 4."""

    @model_validator(mode="after")
    def _check_ranges(self) -> AugmentConfig:
        for name, (low, high) in (
            ("crop_scale", self.crop_scale),
            ("crop_ratio", self.crop_ratio),
        ):
            if not 0 < low <= high or (name == "crop_scale" and high > 1):
                raise ValueError(f"{name} is ({low}, {high}); give a low and a high end above 0")
        return self


NO_AUGMENTATION = AugmentConfig(
    crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, brightness=0, rotation=0
)


class Augmentation:
    """Changes a video as an `AugmentConfig` says.

    Args:
        config: the augmentations.
        size: side of the square pictures.
    """

    def __init__(self, config: AugmentConfig, size: int) -> None:
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
