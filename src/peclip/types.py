"""The values that pass between the steps: frames, faces, windows of face crops, batches.

Shapes: `B` batch, `T` frames, `C` classes, `S` side of a square crop, `H`, `W` height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Decoded frames of one video, upright, in RGB.

    Raises:
        ValueError: shapes or dtypes are not those of the fields.
    """

    data: Tensor
    """uint8, (T, 3, H, W), RGB."""
    timestamps: Tensor
    """float64, (T,), presentation time in seconds from the first frame of the video."""

    def __post_init__(self) -> None:
        if self.data.dtype != torch.uint8 or self.data.ndim != 4 or self.data.shape[1] != 3:
            raise ValueError(
                f"Frames are uint8 of shape (T, 3, H, W); got {self.data.dtype} of shape "
                f"{tuple(self.data.shape)}."
            )
        if self.timestamps.dtype != torch.float64 or self.timestamps.shape != self.data.shape[:1]:
            raise ValueError(
                f"Timestamps are float64 of shape ({self.data.shape[0]},) for {self.data.shape[0]} "
                f"frames; got {self.timestamps.dtype} of shape {tuple(self.timestamps.shape)}."
            )

    def __len__(self) -> int:
        return self.data.shape[0]

    def __repr__(self) -> str:
        frames, _, height, width = self.data.shape
        return f"Frames({frames} frames of {width}x{height})"


@dataclass(frozen=True, slots=True)
class FaceBox:
    """One face in one frame, in pixels of the upright frame with the origin at the top left."""

    x: float
    y: float
    width: float
    height: float
    score: float
    """Confidence of the detector, 0 to 1."""
    eyes: tuple[tuple[float, float], tuple[float, float]] | None = None
    """The eye that is left in the picture, then the right one; `None` if the detector has no points."""

    @property
    def center(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def side(self) -> float:
        """The longer side in pixels."""
        return max(self.width, self.height)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a model reads: videos, and the targets when they are known."""

    frames: Tensor
    """float, (B, T, 3, S, S), normalised."""
    targets: Tensor | None = None
    """float, (B, C); rows sum to one, hard labels are one-hot."""

    def to(self, device: torch.device) -> Batch:
        """Returns the batch with its tensors on a device."""
        targets = None if self.targets is None else self.targets.to(device)
        return Batch(self.frames.to(device), targets)
