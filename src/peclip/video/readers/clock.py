"""Times of frames: from the stamps of a container to seconds from the first frame, which always rise."""

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
"""A frame shown for longer than a day is a corrupt duration."""

_RESTART_S = 1.0
"""Stamps that go back by less are frames in the wrong order, not a new beginning."""

_MAX_RATE = 1000.0
"""Frames per second. Slow motion, too, is stored at the rate at which it is shown."""

_CHECKED = 256
"""Frames over which the rate is measured."""

T = TypeVar("T")


class Clock:
    """Makes times in seconds from the first frame of the stamps that a container gives.

    A stamp is compared with the frame before and with the next stamp, so that one that is wrong does not
    move the frames after it:

    - One that is later than the frame before is right, however late (a pause is one), unless the next
      stamp goes back to between the two: then it is wrong.
    - If the stamps go back by more than a second and continue from there, they start again (recordings
      one after another, a counter that wraps around): they continue one average frame duration after the
      frame before.
    - Any other stamp that is not later than the frame before is wrong, as is one of more than `MAX_SECONDS`.

    A frame whose stamp is wrong or missing follows the frame before by the average duration of a frame,
    but is earlier than the next frame if that is known.

    Args:
        name: of the video, for messages.
        frame_rate: the average, which gives the duration of a frame; `None` if unknown.
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
        """The stamp of the first frame, or the one that it should have; `None` before the first stamp."""

    def timed(
        self, frames: Iterable[tuple[T, float | None, float | None]]
    ) -> Iterator[tuple[T, float, float]]:
        """Yields frames with their times and durations in seconds; 0 is an unknown duration.

        Every frame but the first is held until the next one is decoded.

        Args:
            frames: each with its stamp and its duration in seconds, `None` where there is none.

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
                "%s shows %d frames within %.2g s, so its timestamps are implausible and the times in "
                "its rows are meaningless. Set the frame rate, for example with: ffmpeg -r 25 -i INPUT "
                "OUTPUT.mp4",
                self._name,
                frames,
                self._last - since,
            )


def _shown(duration: float | None) -> float:
    return duration if duration is not None and 0 < duration < _MAX_SHOWN_S else 0.0
