"""Configuration of the random augmentation of training videos."""

from __future__ import annotations

from pydantic import Field, model_validator

from peclip.config import Config


class RandAugmentConfig(Config):
    """RandAugment (Cubuk et al., 2020); see docs/models/augmentation.md. The defaults are the paper's for ImageNet."""

    operations: int = Field(2, ge=1, le=16)
    """N: number of operations drawn for a video, one after the other."""
    magnitude: float = Field(9.0, ge=0, le=10)
    """M: strength of the operations, from 0 to 10."""
    magnitude_std: float = Field(0.0, ge=0, le=10)
    """Standard deviation of the magnitude of each operation, which then stays within 0 to 10."""
    probability: float = Field(1.0, gt=0, le=1)
    """Probability that a drawn operation is applied."""


class ErasingConfig(Config):
    """Random erasing (Zhong et al., 2020); see docs/models/augmentation.md. The defaults are the paper's."""

    probability: float = Field(0.5, ge=0, le=1)
    """Probability that a rectangle of a video is erased, at the same place in all frames."""
    area: tuple[float, float] = (0.02, 0.4)
    """Range of the area of the rectangle, as a fraction of the image area."""
    ratio: tuple[float, float] = (0.3, 1 / 0.3)
    """Range of its aspect ratio (height / width)."""

    @model_validator(mode="after")
    def _check_ranges(self) -> ErasingConfig:
        _check_range("area", self.area, limit=1)
        _check_range("ratio", self.ratio, limit=100)
        return self


class AugmentConfig(Config):
    """How training videos are augmented. The defaults are the release's for DFEW and AFEW."""

    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Range of the crop area, as a fraction of the image area; (1, 1) together with an aspect ratio of 1 disables
    cropping."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Range of the aspect ratio (width / height) of the crop, before it is resized to a square."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    brightness: float = Field(0.5, ge=0, le=1)
    """Brightness is multiplied by a factor from 1 minus to 1 plus this value; the release uses 0 for FERV39k."""
    rotation: float = Field(0.0, ge=0, le=180)
    """Maximum rotation in degrees, in either direction; the release uses 4 for FERV39k."""
    rand_augment: RandAugmentConfig | None = None
    """Operations before all others, drawn once per video."""
    erasing: ErasingConfig | None = None
    """Erasing of a rectangle, after all others."""

    @model_validator(mode="after")
    def _check_ranges(self) -> AugmentConfig:
        _check_range("crop_scale", self.crop_scale, limit=1)
        _check_range("crop_ratio", self.crop_ratio, limit=100)
        return self


def _check_range(name: str, bounds: tuple[float, float], *, limit: int) -> None:
    low, high = bounds
    if not 1e-4 <= low <= high <= limit:
        raise ValueError(
            f"{name} is ({low}, {high}); it must be a lower and an upper limit from 0.0001 to {limit}"
        )
