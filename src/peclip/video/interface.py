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
    """Whether frames arrive as they are recorded, possibly without an end."""
    start_s: float = 0.0
    """Seconds from the start of the container's earliest stream (usually the audio) to the first frame; 0 without a
    container."""
    failure: str | None = None
    """Why the frames end early, as far as the header or the frames read so far show it."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Timeout and reconnection settings for a live source."""

    timeout_s: float = 10.0
    """Seconds without data after which a live source counts as failed."""
    reconnects: int = 0
    """Maximum number of consecutive reconnections after a live source fails or ends."""
    expected: bool = False
    """Whether the address is known to be a live source, so that it is not first tried as a file."""


DEFAULT_LIVE_OPTIONS = LiveOptions()


class VideoReader(Protocol):
    """A source of upright RGB frames with square pixels, all in the size of the first one.

    Use it in a `with` statement, in the process that opened it.
    """

    @property
    def metadata(self) -> VideoMetadata: ...

    def __len__(self) -> int:
        """Number of frames that decode. Raises TypeError for a camera.

        Frames are counted from the file's packets. If the packets suggest other frames (fields, hidden frames,
        wrong time stamps, a truncated file or packet, a bare stream without a container), the video is decoded.
        A frame with damage that only its decoding shows counts until it is decoded: after `chunks`, or after a
        `read` that meets damage, the length is that of the decoded frames.
        """
        ...

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        """Streams all frames in order, at most `max_frames` and 64 MiB at a time.

        Times are presentation times minus that of the first frame, never a frame count divided by a frame rate.
        Only a frame whose time is missing or wrong (see `readers.clock.Clock`) is placed one average frame
        duration after the previous one. Times therefore always increase. Damaged packets are skipped, as in
        players.

        Raises:
            VideoError: decoding fails at some point; all frames before it have been yielded by then.
        """
        ...

    def read(self, indices: Sequence[int]) -> Frames:
        """Returns the frames of these indices, in their order, repeats included.

        Raises:
            IndexError: an index is not in 0 to `len - 1`.
            FrameCountError: damage was found while reading, and `len` has changed; choose the frames again, as
                `chosen_frames.read_chosen` does.
            VideoError: one of the frames cannot be decoded.
        """
        ...

    def stop(self) -> None:
        """Stops waiting for data; the only method that other threads may call."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
