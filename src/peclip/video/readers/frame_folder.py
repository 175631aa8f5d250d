"""A folder of images, or one image, read as a video."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.ExifTags
import PIL.Image
from PIL import ImageOps, UnidentifiedImageError

from peclip.errors import ConfigError, VideoError, first_line
from peclip.video.frames import Frames
from peclip.video.interface import VideoMetadata
from peclip.video.readers.reference_frame import fit
from peclip.video.readers.streaming import (
    MAX_PIXELS,
    Closing,
    Image,
    check_size,
    checked_indices,
    in_chunks,
    no_frames,
    to_frames,
)
from peclip.video.sources import IMAGE_SUFFIXES, check_file, natural_key

logger = logging.getLogger(__name__)

EXIF_ORIENTATIONS = frozenset(range(1, 9))
"""Mirroring and quarter turns, which Pillow applies."""

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Accepted regardless of the extension. Pillow knows more; for EPS it would run an external program."""

_ANIMATED = ("GIF", "PNG", "WEBP")
"""Formats whose images form a sequence in time; in TIFF and JPEG files, they are pages or thumbnails."""


class FrameFolder(Closing):
    """Reads the images in a folder in natural order (`frame_2` before `frame_10`), with EXIF orientation applied.

    The first image is the reference frame, and the others are converted to its size.

    Args:
        path: a folder with images, or one image file.
        frame_rate: frames per second, because images have no timestamps.

    Raises:
        VideoError: the path does not exist or contains no images, or the first image cannot be decoded.
        ConfigError: the frame rate is not positive.
    """

    def __init__(self, path: Path, *, frame_rate: float = 25.0) -> None:
        if not frame_rate > 0:
            raise ConfigError(f"Invalid frame rate {frame_rate}; it must be above 0.")
        self._path = path
        self._frame_rate = frame_rate
        self._files = _image_files(path)
        self._warned = False
        self._first = self._decode(self._files[0])
        self._shape = self._first.shape

    @property
    def metadata(self) -> VideoMetadata:
        height, width, _ = self._shape
        length = len(self._files)
        rate = self._frame_rate
        return VideoMetadata(width, height, rate, length / rate, length, "images")

    def __len__(self) -> int:
        return len(self._files)

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        return in_chunks((self._image(index) for index in range(len(self))), max_frames)

    def read(self, indices: Sequence[int]) -> Frames:
        chosen = checked_indices(indices, len(self), str(self._path))
        if not chosen:
            return no_frames(self._shape[0], self._shape[1])
        images = {index: self._image(index) for index in sorted(set(chosen))}
        return to_frames([images[index] for index in chosen])

    def _image(self, index: int) -> tuple[Image, float]:
        image = self._decode(self._files[index]) if index else self._first
        return fit(image, *self._shape[:2]), index / self._frame_rate

    def _decode(self, file: Path) -> Image:
        image, orientation = _decode(file)
        if orientation not in EXIF_ORIENTATIONS and not self._warned:
            self._warned = True
            logger.warning(
                "%s: its EXIF orientation %r is ignored, because it is not between 1 and 8; the image "
                "stays as stored. Save it again with an image editor.",
                file,
                orientation,
            )
        return image


def _image_files(path: Path) -> list[Path]:
    if not os.path.isdir(path):
        return [path]
    try:
        found = list(path.iterdir())
    except OSError as error:
        raise VideoError(f"The folder {path} cannot be read: {error.strerror}.") from error
    files = [
        file
        for file in found
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        kinds = " ".join(sorted(IMAGE_SUFFIXES))
        raise VideoError(
            f"{path} contains no images ({kinds}). Use a video, or a folder with images."
        )
    return sorted(files, key=lambda file: natural_key(file.name))


def eight_bit(image: PIL.Image.Image) -> PIL.Image.Image:
    """Returns an image with at most 8 bits per channel."""
    # Pillow cuts 16-bit grey off at 255, which makes nearly everything white.
    if not image.mode.startswith("I;16"):
        return image
    return PIL.Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _decode(file: Path) -> tuple[Image, object]:
    """Returns an image, upright, and the orientation that its EXIF data give, 1 if they give none."""
    check_file(file)
    try:
        with warnings.catch_warnings():
            # Pillow warns of damage it can skip, and of sizes that are checked here.
            warnings.simplefilter("ignore")
            with PIL.Image.open(file, formats=_FORMATS) as image:
                check_size(str(file), *image.size)
                if getattr(image, "is_animated", False) and image.format in _ANIMATED:
                    raise VideoError(
                        f"{file} is an animation, which is read as a video and cannot be a frame in "
                        "a folder. Move it to a folder without images, or pass the file itself."
                    )
                orientation: object = image.getexif().get(PIL.ExifTags.Base.Orientation, 1)
                rgb = eight_bit(ImageOps.exif_transpose(image)).convert("RGB")
    except VideoError:
        raise
    except UnidentifiedImageError as error:
        raise VideoError(f"{file} cannot be decoded as an image. Remove or replace it.") from error
    except PIL.Image.DecompressionBombError:
        raise VideoError(
            f"{file} has more than {MAX_PIXELS:,} pixels. Scale it down, or remove it."
        ) from None
    except Exception as error:  # Pillow's decoders raise many types for corrupt bytes
        reason = first_line(error)
        raise VideoError(f"{file} cannot be decoded: {reason}. Remove or replace it.") from error
    return np.array(rgb), orientation
