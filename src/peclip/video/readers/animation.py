"""Reads animated WebP and PNG files as videos, because FFmpeg cannot decode animated WebP.

Pillow decodes and composes the frames; `video.animation_chunks` lists them with their durations.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ImageOps

from peclip.errors import FrameCountError, VideoError, first_line
from peclip.video.animation_chunks import frame_delays
from peclip.video.frames import Frames
from peclip.video.interface import VideoMetadata
from peclip.video.readers.frame_folder import eight_bit
from peclip.video.readers.streaming import (
    Closing,
    Image,
    check_size,
    checked_indices,
    in_chunks,
    no_frames,
    stopped,
    to_frames,
)
from peclip.video.sources import check_file


class Animation(Closing):
    """Reads the frames of one pass of an animated WebP or PNG, at their times, with EXIF orientation applied.

    Transparency is discarded, as for images.

    Raises:
        VideoError: the file cannot be read, or its first frame cannot be decoded.
    """

    def __init__(self, path: Path) -> None:
        check_file(path)
        self._path = path
        self._delays = list(frame_delays(path))
        self._count = len(self._delays)
        self._failure: str | None = None
        self._shape = next(self._images())[0].shape

    @property
    def metadata(self) -> VideoMetadata:
        height, width, _ = self._shape
        length, duration = len(self), sum(self._delays)
        rate = length / duration
        return VideoMetadata(width, height, rate, duration, length, "images", failure=self._failure)

    def __len__(self) -> int:
        return self._count  # fewer after damage was found

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        return in_chunks(self._images(), max_frames)

    def read(self, indices: Sequence[int]) -> Frames:
        before = len(self)
        chosen = checked_indices(indices, before, str(self._path))
        if not chosen:
            return no_frames(self._shape[0], self._shape[1])
        wanted = frozenset(chosen)
        # From the start: a frame holds only what has changed since the frame before it.
        sequence = enumerate(islice(self._images(), max(wanted) + 1))
        try:
            images = {index: image for index, image in sequence if index in wanted}
        except VideoError as error:
            if len(self) == before:
                raise
            raise FrameCountError(str(error)) from error
        return to_frames([images[index] for index in chosen])

    def _images(self) -> Iterator[tuple[Image, float]]:
        seconds, count, before = 0.0, 0, None
        try:
            with _opened(self._path) as image:
                # Pillow counts a picture for programs without animations as the first frame.
                first = int(getattr(image, "default_image", False))
                for delay in self._delays:
                    yield _decoded(image, first + count), seconds
                    seconds, count, before = seconds + delay, count + 1, seconds
        except VideoError:
            raise
        except Exception as error:  # Pillow's decoders raise many types for corrupt bytes
            self._failure = first_line(error)
            self._count = count
            raise stopped(str(self._path), before, count, first_line(error)) from error


def _decoded(image: PIL.Image.Image, index: int) -> Image:
    with _silenced():
        image.seek(index)
        return np.array(eight_bit(ImageOps.exif_transpose(image)).convert("RGB"))


@contextmanager
def _opened(path: Path) -> Iterator[PIL.Image.Image]:
    with _silenced():
        image = PIL.Image.open(path, formats=("PNG", "WEBP"))
    with image:
        check_size(str(path), *image.size)
        yield image


@contextmanager
def _silenced() -> Iterator[None]:
    """Pillow warns of damage it can skip, and of sizes that are checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
