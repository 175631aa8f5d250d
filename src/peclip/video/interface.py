"""The interface of every source of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from peclip.video.frames import Frames


@dataclass(frozen=True, slots=True)
class VideoMetadata:
    """What is known about a video before decoding."""

    width: int
    """Pixels of the upright frame."""
    height: int
    """Pixels of the upright frame."""
    frame_rate: float | None
    """Average, frames per second."""
    duration_s: float | None
    num_frames: int | None
    """From the container, may be slightly off; `len(reader)` is exact."""
    decoder: str
    """`torchcodec`, `pyav`, `images`, `array` or `camera`."""
    live: bool = False
    """Whether frames come as they are recorded, perhaps without an end."""
    start_s: float = 0.0
    """Seconds from the start of the container, where its first stream starts (usually the sound), to the first
    frame; 0 without a container."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How long to wait for a live source."""

    timeout_s: float = 10.0
    """Seconds without data after which a live source has failed."""
    reconnects: int = 0
    """How often in a row to connect again after a live source failed or ended."""
    expected: bool = False
    """Whether an address is known to be that of a live source, which is then not tried as a file first."""


DEFAULT_LIVE_OPTIONS = LiveOptions()


class VideoReader(Protocol):
    """A source of upright RGB frames with square pixels, all in the size of the first one.

    Use it in a `with` statement, in the process that opened it.
    """

    @property
    def metadata(self) -> VideoMetadata: ...

    def __len__(self) -> int:
        """Number of frames that decoding gives. Raises TypeError for a camera.

        It is counted from the packets of the file; where these are not one frame each, the video is decoded.
        Frames with damaged packets are counted, too.
        """
        ...

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        """Streams all frames in order, at most `max_frames` and 64 MiB at a time.

        Times are presentation times minus that of the first frame, never a number of frames divided by a
        rate; only a frame whose time is missing or wrong (see `readers.clock.Clock`) follows the previous one
        by the average duration of a frame. So times always rise.
        Damaged packets are skipped as players do.

        Raises:
            VideoError: nothing can be decoded from some point on; what could be was yielded before.
        """
        ...

    def read(self, indices: Sequence[int]) -> Frames:
        """Returns the frames of these indices, in their order, repeats included.

        Raises:
            IndexError: an index is not in 0 to `len - 1`.
            VideoError: one of the frames cannot be decoded.
        """
        ...

    def stop(self) -> None:
        """Ends a wait for data; the only method that another thread may call."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
