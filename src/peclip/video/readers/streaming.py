"""Shared by the readers: grouping frames into chunks, checking indices, staying in one process."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from peclip.errors import ConfigError, VideoError
from peclip.video.frames import Frames

Image = NDArray[np.uint8]
"""One upright RGB frame, (H, W, 3)."""

MAX_PIXELS = 2**27
"""Of one picture: 16384x8192. A few header bytes can claim more, which would allocate gigabytes."""

CHUNK_BYTES = 64 * 2**20
"""A chunk holds no more than this (but at least one frame), so that 8K video does not fill the memory."""

CHUNK_SECONDS = 0.5
"""Maximum number of frames in a chunk of a live source, so that frames at a low rate are not delayed."""


class Shown(NamedTuple):
    """One frame with its time."""

    image: Image
    seconds: float
    """Seconds from the first frame."""
    duration: float = 0.0
    """Display duration in seconds, as stated in the container; 0 if unknown."""


class Broken(Exception):
    """The reason why a source's frames end early; `Clock` adds the position and converts it to a `VideoError`."""


def check_size(name: str, width: int, height: int) -> None:
    """Checks the size that a header gives, before memory is taken for it.

    Raises:
        VideoError: a picture has more pixels than any camera records.
    """
    if width * height > MAX_PIXELS:
        raise VideoError(
            f"{name} has a frame size of {width}x{height}, which is corrupt or too large: up to "
            f"{MAX_PIXELS:,} pixels are supported. Scale it down with: ffmpeg -i INPUT -vf "
            "scale=1920:-2 output.mp4"
        )


def in_chunks(
    images: Iterator[Shown | tuple[Image, float]],
    max_frames: int,
    max_seconds: float = math.inf,
) -> Iterator[Frames]:
    """Groups images, their times in seconds and their durations, if known, into `Frames`.

    Raises:
        ConfigError: `max_frames` is less than one.
        VideoError: reading the images fails; all earlier images have been yielded by then.
    """
    chunk_length(
        1, max_frames
    )  # here, since a generator raises only when its first value is asked for
    return _chunks(images, max_frames, max_seconds)


def chunk_length(image_bytes: int, max_frames: int) -> int:
    """Returns how many frames a chunk holds.

    Raises:
        ConfigError: `max_frames` is less than one.
    """
    if max_frames < 1:
        raise ConfigError(f"Invalid max_frames {max_frames}; it must be 1 or more.")
    return max(1, min(max_frames, CHUNK_BYTES // max(image_bytes, 1)))


def _chunks(
    images: Iterator[Shown | tuple[Image, float]], max_frames: int, max_seconds: float
) -> Iterator[Frames]:
    pending: list[Shown] = []
    failure: Exception | None = None
    while True:
        try:
            shown = _shown(next(images))
        except StopIteration:
            break
        except Exception as error:  # whatever it is, the images before it are good
            failure = error
            break
        pending.append(shown)
        late = shown.seconds - pending[0].seconds >= max_seconds
        if late or len(pending) >= chunk_length(shown.image.size, max_frames):
            chunk, pending = to_frames(pending), []
            yield chunk
    if pending:
        yield to_frames(pending)
    if failure is not None:
        raise failure


def to_frames(images: Sequence[Shown | tuple[Image, float]]) -> Frames:
    """Stacks one or more images with their times in seconds; a single one is not copied."""
    shown = [_shown(image) for image in images]
    return Frames(
        shown[0].image[None] if len(shown) == 1 else np.stack([one.image for one in shown]),
        np.array([one.seconds for one in shown], np.float64),
        np.array([one.duration for one in shown], np.float64),
    )


def _shown(image: Shown | tuple[Image, float]) -> Shown:
    return image if isinstance(image, Shown) else Shown(image[0], image[1])


def no_frames(height: int, width: int) -> Frames:
    """Returns zero frames of a size."""
    return Frames(np.empty((0, height, width, 3), np.uint8), np.empty(0, np.float64))


def checked_indices(indices: Sequence[int], length: int, name: str) -> list[int]:
    """Returns the indices as ints.

    Raises:
        IndexError: one of them is not in 0 to `length - 1`.
    """
    checked = [int(index) for index in indices]
    for index in checked:
        if not 0 <= index < length:
            raise IndexError(f"{name} has no frame {index}; its frames are 0 to {length - 1}.")
    return checked


def stopped(name: str, seconds: float | None, count: int, reason: str) -> VideoError:
    """Returns the error of a video that is damaged after `count` good frames, the last at `seconds`."""
    if seconds is None:
        return VideoError(f"{name} has no decodable frames: {reason}.")
    return VideoError(f"{name}: decoding stopped after {seconds:.2f} s (frame {count}): {reason}.")


class Closing:
    """`with` for readers; closing twice is allowed."""

    def stop(self) -> None:
        """Stops waiting for data; the only method that other threads may call."""

    def close(self) -> None:
        """Frees what the reader holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ProcessBound(Closing):
    """A reader with native handles, which must not be used in another process after a fork."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pid = os.getpid()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise VideoError(
                f"{self._name} was opened in process {self._pid} and cannot be read in process "
                f"{os.getpid()}. Call open_video inside the worker."
            )

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"The open reader for {self._name} cannot be pickled. Pass the path to the worker, and call "
            "open_video there."
        )


class Endless(ProcessBound):
    """A source that is read once, as its frames arrive, and may have no end."""

    def __len__(self) -> int:
        raise TypeError(f"{self._name} has no length; use chunks().")

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        self._check_process()
        return in_chunks(self._images(), max_frames, CHUNK_SECONDS)

    def read(self, indices: Sequence[int]) -> Frames:
        raise VideoError(f"{self._name} does not support access by frame number; use chunks().")

    def _images(self) -> Iterator[tuple[Image, float]]:
        """Yields the frames with their times in seconds."""
        raise NotImplementedError
