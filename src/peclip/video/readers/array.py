"""Frames that are in memory already, behind the same interface as a file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peclip.errors import ConfigError, VideoError
from peclip.video.frames import Frames, TensorLike
from peclip.video.interface import VideoMetadata
from peclip.video.readers.streaming import Closing, checked_indices, chunk_length


class ArrayReader(Closing):
    """Reads a numpy array (T, H, W, 3), a tensor (T, 3, H, W) or `Frames`, uint8 RGB, without a copy.

    A tensor on a GPU stays there, and each chunk is copied when it is read.

    Args:
        source: the frames.
        frame_rate: frames per second of an array or a tensor; `Frames` have their own times.

    Raises:
        ConfigError: the dtype or the shape is not as above, the frame rate is not positive, or the
            timestamps do not rise.
        VideoError: there are no frames.
    """

    def __init__(
        self, source: NDArray[Any] | TensorLike | Frames, *, frame_rate: float = 25.0
    ) -> None:
        if not frame_rate > 0:
            raise ConfigError(f"Invalid frame rate {frame_rate}; it must be above 0.")
        self._pixels = source.data if isinstance(source, Frames) else _pixels(source)
        if len(self) == 0:
            raise VideoError("The array of frames is empty; it must contain at least one frame.")
        times = np.arange(len(self), dtype=np.float64) / frame_rate
        self._durations: NDArray[np.float64] | None = None
        if isinstance(source, Frames):
            times, self._durations = source.timestamps, source.durations
            if not (times[1:] > times[:-1]).all():
                raise ConfigError("The timestamps of Frames must increase from frame to frame.")
        self._times: NDArray[np.float64] = times - times[0]

    @property
    def metadata(self) -> VideoMetadata:
        length, height, width, _ = self._pixels.shape
        span = float(self._times[-1])
        rate = (length - 1) / span if span > 0 else None
        duration = length / rate if rate else None
        return VideoMetadata(width, height, rate, duration, length, "array")

    def __len__(self) -> int:
        return len(self._pixels)

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        step = chunk_length(math.prod(self._pixels.shape[1:]), max_frames)
        parts = (slice(start, start + step) for start in range(0, len(self), step))
        shown = self._durations
        return (
            Frames(
                _as_array(self._pixels[part]),
                self._times[part],
                None if shown is None else shown[part],
            )
            for part in parts
        )

    def read(self, indices: Sequence[int]) -> Frames:
        chosen = checked_indices(indices, len(self), "The array of frames")
        return Frames(_as_array(self._pixels[chosen]), self._times[chosen])


def _pixels(source: NDArray[Any] | TensorLike) -> Any:
    """Returns a view (T, H, W, 3) of an array or a tensor."""
    channels = -1 if isinstance(source, np.ndarray) else 1
    accepted = "a numpy array (T, H, W, 3) or a tensor (T, 3, H, W)"
    if str(source.dtype).removeprefix("torch.") != "uint8":
        raise ConfigError(f"Unsupported dtype {source.dtype}; use uint8 frames, {accepted}.")
    if source.ndim != 4 or source.shape[channels] != 3:
        raise ConfigError(f"Unsupported shape {tuple(source.shape)}; use {accepted}, uint8 RGB.")
    return np.asarray(source) if isinstance(source, np.ndarray) else source.permute(0, 2, 3, 1)


def _as_array(pixels: Any) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = pixels if isinstance(pixels, np.ndarray) else pixels.cpu().numpy()
    return array
