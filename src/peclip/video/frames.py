"""Decoded frames, and the pixels that a caller may give instead of a file.

Pixels are numpy arrays; nothing here imports torch. Shapes: `T` frames, `H`, `W` height and width.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Decoded frames of one video, upright, RGB.

    Raises:
        ValueError: types, shapes or dtypes are not those of the fields.
    """

    data: NDArray[np.uint8]
    """uint8, (T, H, W, 3), RGB."""
    timestamps: NDArray[np.float64]
    """float64, (T,), presentation time in seconds from the first frame of the video."""
    durations: NDArray[np.float64] | None = None
    """float64, (T,), display duration of each frame in seconds, 0 if unknown. Only that of a video's last frame is
    used, because every other frame is displayed until the next one."""

    def __post_init__(self) -> None:
        data, times = self.data, self.timestamps
        if is_tensor(data) or is_tensor(times):
            raise ValueError(
                "Frames must contain numpy arrays; got a tensor. Convert it with "
                "Frames(pixels.permute(0, 2, 3, 1).numpy(), timestamps.numpy())."
            )
        if data.dtype != np.uint8 or data.ndim != 4 or data.shape[-1] != 3:
            raise ValueError(
                f"Frames must be uint8 of shape (T, H, W, 3); got {data.dtype} of shape "
                f"{data.shape}."
            )
        if times.dtype != np.float64 or times.shape != data.shape[:1]:
            raise ValueError(
                f"Timestamps must be float64 of shape ({len(data)},) for {len(data)} frames; got "
                f"{times.dtype} of shape {times.shape}."
            )
        shown = self.durations
        if shown is not None and (shown.dtype != np.float64 or shown.shape != times.shape):
            raise ValueError(
                f"Durations must be float64 of shape ({len(data)},) for {len(data)} frames; got "
                f"{shown.dtype} of shape {shown.shape}."
            )

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        frames, height, width, _ = self.data.shape
        return f"Frames({frames} frames of {width}x{height})"


class TensorLike(Protocol):
    """A torch tensor as far as this package uses it."""

    @property
    def dtype(self) -> Any: ...

    @property
    def ndim(self) -> int: ...

    @property
    def shape(self) -> Sequence[int]: ...

    def permute(self, *dims: int) -> Any: ...


def is_tensor(value: object) -> TypeGuard[TensorLike]:
    """Returns whether a value is a torch tensor, without importing torch."""
    # Whoever made a tensor has imported torch.
    return isinstance(value, getattr(sys.modules.get("torch"), "Tensor", ()))
