"""Where the sound of a source is, and which span of it a model reads."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from peclip.errors import VideoError
from peclip.video.reader import open_video
from peclip.video.sources import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from peclip.video.readers.pyav_sound import SoundReader

SOUND_FILE = "sound.flac"
"""The sound of a folder of frames, from its first frame on; written by `peclip data prepare --sound`."""


def find_sound(source: Path) -> Path | None:
    """Returns the file with the sound of a source: a video itself, or one in a folder of frames."""
    if source.is_dir():
        file = source / SOUND_FILE
        return file if file.is_file() else None
    return source if source.is_file() and source.suffix.lower() not in IMAGE_SUFFIXES else None


def open_sound(file: Path, rate: int, *, origin_s: float = 0.0) -> SoundReader:
    """Opens the sound of a file; see `SoundReader`.

    Raises:
        VideoError: it cannot be opened.
    """
    from peclip.video.readers.pyav_sound import SoundReader

    return SoundReader(file, rate, origin_s=origin_s)


@lru_cache(maxsize=65_536)
def has_sound(source: Path) -> bool:
    """Returns whether a source has a sound track that can be decoded, according to its header."""
    file = find_sound(source)
    if file is None:
        return False
    try:
        with open_sound(file, 16_000) as reader:
            return reader.problem is None
    except VideoError:
        return False


def middle(start_s: float, end_s: float, seconds: float) -> tuple[float, float]:
    """Returns a span of time, or its middle if it is longer than a number of seconds."""
    cut = max(0.0, end_s - start_s - seconds) / 2
    return start_s + cut, end_s - cut


def read_whole_sound(
    source: Path, rate: int, seconds: float
) -> tuple[NDArray[np.float32] | None, str | None]:
    """Reads the sound of a source from its first frame to its last, or its middle if it is longer.

    Args:
        source: a video file or a folder of frames.
        rate: samples per second.
        seconds: longest span.

    Returns:
        The samples, (N,), and why some are missing; `None` without sound, and if nothing is missing.
    """
    file = find_sound(source)
    if file is None:
        return None, None
    try:
        start_s, duration_s = 0.0, None
        if file == source:
            with open_video(source, num_threads=1) as video:
                start_s, duration_s = video.metadata.start_s, video.metadata.duration_s
        with open_sound(file, rate, origin_s=start_s) as reader:
            end_s = duration_s or reader.duration_s or seconds
            samples = reader.read(*middle(0.0, end_s, seconds))
            return samples, reader.problem if reader.num_tracks else None
    except VideoError as error:
        return None, str(error).rstrip(".")
