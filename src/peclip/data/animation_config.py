"""Configuration of windows generated from stills."""

from __future__ import annotations

from pydantic import Field, model_validator

from peclip.config import Config


class AnimateConfig(Config):
    """How windows are generated from stills. Lengths are fractions of the image side."""

    partial: float = Field(0.0, ge=0, le=1)
    """Probability that the still (neutral or not) fills only part of the window, between frames of a
    neutral face. That face belongs to the same person if the data set identifies people and has a neutral
    still of this person, otherwise to any person."""
    share: tuple[float, float] = (0.3, 1.0)
    """Range of the fraction of the window that the still fills."""
    faint: float = Field(0.0, ge=0, le=1)
    """Probability that this fraction is drawn from `faint_share` instead, and that the window is labelled
    neutral."""
    faint_share: tuple[float, float] = (0.03, 0.12)
    rotation: float = Field(14.0, ge=0, le=90)
    """Maximum rotation in degrees, in either direction."""
    scale: float = Field(0.2, ge=0, le=1)
    """Maximum change of size on a logarithmic scale: the size is multiplied or divided by a factor of up to
    e to this power. In crops with a margin of -0.1 to 0.3, stills without a margin appear at 1.11 to 0.77
    times their size; 0.27 covers this range."""
    stretch: float = Field(0.05, ge=0, le=0.5)
    """Like `scale`, but for the width only."""
    shift: float = Field(0.12, ge=0, le=0.5)
    drift: float = Field(0.5, ge=0, le=1)
    """Change of rotation, scale, shift and lighting within a window, as a fraction of their range."""
    jitter: float = Field(0.01, ge=0, le=0.1)
    """Standard deviation of shift and scale from frame to frame, to simulate the jitter of a face
    detector."""
    border: float = Field(0.0, ge=0, le=1)
    """Probability that the area outside the image is filled by reflection, the mean colour or black, with equal
    probability; otherwise the edge is repeated."""
    flip: float = Field(0.5, ge=0, le=1)
    contrast: float = Field(0.35, ge=0, le=2)
    """Maximum change of contrast on a logarithmic scale: the contrast is multiplied or divided by a factor
    of up to e to this power."""
    brightness: float = Field(30.0, ge=0, le=255)
    """Maximum change of brightness in grey levels, in either direction."""
    blur: float = Field(0.15, ge=0, le=1)
    """Probability of a Gaussian blur of up to `blur_sigma` pixels."""
    blur_sigma: float = Field(1.0, gt=0, le=10)
    motion: float = Field(0.0, ge=0, le=1)
    """Probability of motion blur along a line in any direction."""
    motion_length: float = Field(0.1, gt=0, le=0.5)
    """Maximum length of the blur line; its minimum length is 0.3 times this value."""
    resolution: float = Field(0.0, ge=0, le=1)
    """Probability that the image is shrunk to a side in `resolution_range` and enlarged again."""
    resolution_range: tuple[int, int] = (16, 64)
    """Range of the side of the shrunken image in pixels, drawn uniformly on a logarithmic scale; sizes
    larger than the image have no effect."""
    compression: float = Field(0.15, ge=0, le=1)
    """Probability of JPEG compression at a quality of 15 to 70."""
    noise: float = Field(0.15, ge=0, le=1)
    """Probability of noise with a standard deviation of up to 10 grey levels."""
    erase: float = Field(0.4, ge=0, le=1)
    """Probability that a square with a side of 0.12 to 0.42 of the image side is erased, at the same place
    in all frames."""
    occlude: float = Field(0.0, ge=0, le=1)
    """Probability that a bar or an ellipse, dark or in the colour of the face, covers the eyes or the mouth
    in all frames, to simulate glasses, masks and hands. It moves with the face."""

    @model_validator(mode="after")
    def _check_ranges(self) -> AnimateConfig:
        for name in ("share", "faint_share"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ValueError(
                    f"{name} is ({low}, {high}); it must be two numbers above 0 and at most "
                    "1, in ascending order"
                )
        low, high = self.resolution_range
        if not 1 <= low <= high <= 4096:
            raise ValueError(
                f"resolution_range is ({low}, {high}); it must be two sizes in pixels from 1 to 4096, "
                "in ascending order"
            )
        if self.partial + self.faint > 1:
            raise ValueError(
                "partial and faint are probabilities of mutually exclusive events, so their sum "
                "must be at most 1"
            )
        if self.faint and self.faint_share[1] > self.share[0]:
            raise ValueError(
                f"faint_share is {self.faint_share} and share is {self.share}; the two ranges "
                "must not overlap, and the range faint_share must be below the range share"
            )
        return self
