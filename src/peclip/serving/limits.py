"""Limits of the server: what it accepts, how much of it at a time, and how long it waits and keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from peclip.config import Config
from peclip.errors import VideoError
from peclip.video.interface import VideoMetadata

MAX_FRAME_BYTES = 16 * 2**20
"""Of a single still."""
STILL_S = 1.0
"""Maximum length of a still in seconds: readers give an image the duration of one frame."""
MAX_ROWS = 100_000
"""Of a video; the worker keeps them until the prediction is deleted."""
MAX_FINISHED = 32
"""Finished predictions that are kept; a new one takes the place of the oldest."""
MAX_ASKED = 4
"""Stills and explanations that are computed or wait at a time."""


class ServeOptions(Config, use_attribute_docstrings=True):
    """What the server accepts. Field names are the flags of `peclip serve`, and their docstrings its help."""

    max_upload: int = Field(512, ge=1, le=1_000_000)
    """Maximum size of a video in MB."""
    max_seconds: float = Field(3600.0, gt=0, le=1e6)
    """Maximum length of a video in seconds."""
    max_pixels: int = Field(8_847_360, ge=64, le=1_000_000_000)
    """Maximum number of pixels of a frame; the default is 4096 x 2160."""
    queue: int = Field(16, ge=1, le=10_000)
    """Maximum number of videos that wait; further ones are refused with status 429."""
    jobs: int = Field(2, ge=1, le=64)
    """Number of videos that are read at the same time; their windows share batches."""
    keep: float = Field(3600.0, gt=0, le=1e6)
    """Seconds after which a finished prediction and its video are deleted."""
    allow_private: bool = False
    """Also download from URLs of this machine and of private networks, which are refused by default."""

    @property
    def max_bytes(self) -> int:
        """Maximum size of a video in bytes."""
        return self.max_upload * 1_000_000


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the server waits, in seconds."""

    headers: float = 15.0
    """For a complete request line and headers."""
    body_pause: float = 20.0
    """For the next piece of a body."""
    body: float = 1800.0
    """For a whole body."""
    download: float = 600.0
    """For a video from a URL."""
    stalled: float = 120.0
    """For progress of a video; then its worker process is replaced."""
    still: float = 30.0
    """For the prediction of a still."""
    explanation: float = 180.0
    """For an explanation."""
    start: float = 300.0
    """For a worker process to load the model."""


def check_video(about: VideoMetadata, name: str, *, max_pixels: int, max_seconds: float) -> None:
    """Checks the header of a video.

    Raises:
        VideoError: it is too large or too long.
    """
    if about.width * about.height > max_pixels:
        raise VideoError(
            f"{name} has {about.width} x {about.height} pixels; this server accepts at most "
            f"{max_pixels:,}. Scale the video down."
        )
    if about.duration_s is not None:
        check_length(about.duration_s, name, max_seconds=max_seconds)


def check_length(seconds: float, name: str, *, max_seconds: float) -> None:
    """Checks the length of a video, or how far it was read.

    Raises:
        VideoError: it is too long.
    """
    if seconds > max_seconds:
        raise VideoError(
            f"{name} is longer than {max_seconds:g} s, the limit of this server. Cut the video."
        )
