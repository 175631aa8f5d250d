"""Converts a container's timestamps to increasing frame times, in seconds from the first frame."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from typing import TypeVar

from peclip.video.readers.streaming import Broken, stopped

logger = logging.getLogger(__name__)

MAX_SECONDS = 1e9
"""Thirty years. A later time is corrupt, and float64 no longer separates frames."""

_MAX_SHOWN_S = 86_400.0
"""A frame duration of more than a day is considered corrupt."""

_RESTART_S = 1.0
"""Smaller backward jumps indicate frames in the wrong order, not a restart."""

_MAX_RATE = 1000.0
"""Frames per second. Slow motion is also stored at the rate at which it is displayed."""

_CHECKED = 256
"""Number of frames over which the rate is measured."""

T = TypeVar("T")


class Clock:
    """Converts a container's timestamps to times in seconds from the first frame.

    Each timestamp is compared with the previous frame and the next timestamp, so that a wrong one does not
    shift later frames:

    - A timestamp later than the previous frame is correct, by any amount (there may be a pause), unless the
      next timestamp is between the two; it is then wrong.
    - If the timestamps jump back by more than a second and continue from there, they have restarted
      (concatenated recordings, a counter wraparound): times continue one average frame duration after the
      previous frame.
    - Any other timestamp that is not later than the previous frame is wrong, as is one above `MAX_SECONDS`.

    A frame with a wrong or missing timestamp is placed one average frame duration after the previous frame,
    but before the next frame if its time is known.

    Args:
        name: name of the video in messages.
        frame_rate: the average frame rate, from which frame durations are derived; `None` if unknown.
    """

    def __init__(self, name: str, frame_rate: float | None) -> None:
        self._name = name
        self._step = 1 / frame_rate if frame_rate else 1 / 25
        self._last: float | None = None
        self._count = 0
        self._checked = (0, 0.0)  # number and time of the frame from which the rate is measured
        self._warned = False
        self._start: float | None = None  # the stamp that corresponds to 0 s
        self.first: float | None = None
        """The timestamp that the first frame has or should have; `None` before the first timestamp."""

    def timed(
        self, frames: Iterable[tuple[T, float | None, float | None]]
    ) -> Iterator[tuple[T, float, float]]:
        """Yields frames with their times and durations in seconds; unknown durations are 0.

        Every frame except the first is held until the next one is decoded.

        Args:
            frames: each with its timestamp and duration in seconds, or `None` if missing.

        Raises:
            VideoError: the frames end in `Broken`.
        """
        held: tuple[T, float | None, float | None] | None = None
        failure: Exception | None = None
        stream = iter(frames)
        while True:
            try:
                frame = next(stream, None)
            except Exception as error:  # whatever it is, the frame held is good
                failure, frame = error, None
            if held is not None:
                yield held[0], self._seconds(held[1], frame[1] if frame else None), _shown(held[2])
            if frame is None:
                break
            held = frame
            if self._last is None:  # the first frame is at 0, whatever follows
                yield frame[0], self._seconds(frame[1], None), _shown(frame[2])
                held = None
        self._check_rate(at_end=True)
        if isinstance(failure, Broken):
            raise stopped(self._name, self._last, self._count, str(failure)) from failure
        if failure is not None:
            raise failure

    def _seconds(self, stamp: float | None, following: float | None) -> float:
        """Returns the time of the next frame, from its stamp and the stamp of the one after it."""
        last = self._last
        expected = 0.0 if last is None else last + self._step
        if self._start is None and stamp is not None and math.isfinite(stamp):
            # Frames without a stamp may have come before.
            self._start = self.first = stamp - expected
        time, ahead = self._since(stamp), self._since(following)
        if last is None or time is None:
            time = expected
        elif ahead is not None and last < ahead and not last < time <= ahead:
            time = min(expected, (last + ahead) / 2)  # only this stamp is wrong
        elif time <= last:
            if ahead is not None and time < last - _RESTART_S and time < ahead:
                assert self._start is not None
                self._start += time - expected
            time = expected
        self._last = time
        self._count += 1
        self._check_rate()
        return time

    def _since(self, stamp: float | None) -> float | None:
        if stamp is None or self._start is None or not math.isfinite(stamp):
            return None
        seconds = stamp - self._start
        return seconds if abs(seconds) < MAX_SECONDS else None

    def _check_rate(self, *, at_end: bool = False) -> None:
        number, since = self._checked
        frames = self._count - 1 - number
        if self._warned or self._last is None or frames < (8 if at_end else _CHECKED):
            return
        self._checked = self._count - 1, self._last
        if frames > (self._last - since) * _MAX_RATE:
            self._warned = True
            logger.warning(
                "%s has %d frames within %.2g s, so its timestamps are implausible and the times in its "
                "rows are meaningless. Set the frame rate, for example with: ffmpeg -r 25 -i INPUT "
                "OUTPUT.mp4",
                self._name,
                frames,
                self._last - since,
            )


def _shown(duration: float | None) -> float:
    return duration if duration is not None and 0 < duration < _MAX_SHOWN_S else 0.0
