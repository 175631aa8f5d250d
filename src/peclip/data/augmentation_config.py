"""Configuration of the random augmentation of training videos."""

from __future__ import annotations

from pydantic import Field, model_validator

from peclip.config import Config


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

    @model_validator(mode="after")
    def _check_ranges(self) -> AugmentConfig:
        for name, (low, high) in (
            ("crop_scale", self.crop_scale),
            ("crop_ratio", self.crop_ratio),
        ):
            limit = 1 if name == "crop_scale" else 100
            if not 1e-4 <= low <= high <= limit:
                raise ValueError(
                    f"{name} is ({low}, {high}); it must be a lower and an upper limit from "
                    f"0.0001 to {limit}"
                )
        return self
