"""Configuration of the random changes of training videos."""

from __future__ import annotations

from pydantic import Field, model_validator

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
