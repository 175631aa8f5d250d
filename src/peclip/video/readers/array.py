"""Frames that are in memory already, behind the same interface as a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from peclip.errors import ConfigError, VideoError
from peclip.types import Frames
from peclip.video.interface import VideoMetadata
from peclip.video.readers.streaming import Closing, checked_indices, chunk_length


class ArrayReader(Closing):
    """Reads a numpy array (T, H, W, 3), a tensor (T, 3, H, W) or `Frames`, uint8 RGB, without a copy.

    Args:
        source: the frames.
        frame_rate: frames per second of an array or a tensor; `Frames` have their own times.

    Raises:
        ConfigError: the dtype or the shape is not as above, the frame rate is not positive, or the
            timestamps do not rise.
        VideoError: there are no frames.
    """

    def __init__(self, source: NDArray[Any] | Tensor | Frames, *, frame_rate: float = 25.0) -> None:
        if not frame_rate > 0:
            raise ConfigError(f"Invalid frame rate {frame_rate}: give a number above 0.")
        self._frames = source if isinstance(source, Frames) else _to_frames(source, frame_rate)
        if len(self._frames) == 0:
            raise VideoError("The array of frames is empty: give at least one frame.")
        if not bool((self._frames.timestamps.diff() > 0).all()):
            raise ConfigError("The timestamps of Frames must rise from frame to frame.")

    @property
    def metadata(self) -> VideoMetadata:
        length, _, height, width = self._frames.data.shape
        times = self._frames.timestamps
        span = float(times[-1] - times[0])
        rate = (length - 1) / span if span > 0 else None
        duration = length / rate if rate else None
        return VideoMetadata(width, height, rate, duration, length, "array")

    def __len__(self) -> int:
        return len(self._frames)

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        step = chunk_length(self._frames.data[0].numel(), max_frames)
        starts = range(0, len(self), step)
        data, times = self._frames.data, self._times()
        return (Frames(data[i : i + step].cpu(), times[i : i + step]) for i in starts)

    def read(self, indices: Sequence[int]) -> Frames:
        chosen = checked_indices(indices, len(self), "The array of frames")
        return Frames(self._frames.data[chosen].cpu(), self._times()[chosen])

    def _times(self) -> Tensor:
        return (self._frames.timestamps - self._frames.timestamps[0]).cpu()


def _to_frames(source: NDArray[Any] | Tensor, frame_rate: float) -> Frames:
    channels = -1 if isinstance(source, np.ndarray) else 1
    accepted = "a numpy array (T, H, W, 3) or a tensor (T, 3, H, W)"
    if str(source.dtype).removeprefix("torch.") != "uint8":
        raise ConfigError(f"Unsupported dtype {source.dtype}: give uint8 frames, {accepted}.")
    if source.ndim != 4 or source.shape[channels] != 3:
        raise ConfigError(
            f"Unsupported shape {tuple(source.shape)}: give {accepted}, uint8 in RGB."
        )
    data = (
        torch.from_numpy(np.ascontiguousarray(source)).permute(0, 3, 1, 2)
        if isinstance(source, np.ndarray)
        else source
    )
    times = torch.arange(data.shape[0], dtype=torch.float64) / frame_rate
    return Frames(data, times)
