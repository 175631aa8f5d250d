"""Converts a container's timestamps to increasing frame times, in seconds from the first frame."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from peclip.video.readers.streaming import Broken, stopped

logger = logging.getLogger(__name__)

MAX_SECONDS = 1e9
"""Thirty years. A later time is corrupt, and float64 no longer separates frames."""

_MAX_SHOWN_S = 86_400.0
"""A frame duration of more than a day is considered corrupt."""

_RESTART_S = 1.0
"""Smaller backward jumps indicate frames in the wrong order, not a restart. A larger forward jump is checked
against the following frames: if they return this close to the expected time, it was wrong."""

_HELD = 8
"""Frames decoded after a jump before it is accepted: a live source is delayed by a third of a second."""

_MAX_RATE = 1000.0
"""Frames per second. Slow motion is also stored at the rate at which it is displayed."""

_CHECKED = 256
"""Number of frames over which the rate is measured."""

T = TypeVar("T")


class Clock:
    """Converts a container's timestamps to times in seconds from the first frame.

    Each timestamp is compared with the previous frame and the next timestamps, so that wrong ones do not
    shift later frames:

    - A timestamp later than the previous frame is correct, by any amount (there may be a pause), unless the
      next timestamp is between the two; it is then wrong. After a forward jump of more than a second that the
      previous frame's duration does not announce, up to eight timestamps are wrong together if the one after
      them is where it would be without the jump, within a second. Timestamps that advance by a second after
      the jump confirm it.
    - If the timestamps jump back by more than a second and continue from there, they have restarted
      (concatenated recordings, a counter wraparound): times continue one average frame duration after the
      previous frame. If the timestamps return within eight frames to where they would have continued, those
      in between were wrong.
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
        self._left: tuple[float, int] | None = (
            None  # `_start` before the last restart, and its frame
        )
        self.first: float | None = None
        """The timestamp that the first frame has or should have; `None` before the first timestamp."""

    def timed(
        self, frames: Iterable[tuple[T, float | None, float | None]]
    ) -> Iterator[tuple[T, float, float]]:
        """Yields frames with their times and durations in seconds; unknown durations are 0.

        Every frame except the first is held until the next one is decoded, and after a jump until several are.

        Args:
            frames: each with its timestamp and duration in seconds, or `None` if missing.

        Raises:
            VideoError: the frames end in `Broken`.
        """
        ahead = _Ahead(frames)
        shown = 0.0
        while ahead.reach(1):
            if self._last is not None:  # the first frame is at 0, whatever follows
                ahead.reach(2)
                self._undo_jump(ahead, shown)
            frame, stamp, duration = ahead.held.popleft()
            following = ahead.held[0][1] if ahead.held else None
            shown = _shown(duration)
            yield frame, self._seconds(stamp, following), shown
        self._check_rate(at_end=True)
        failure = ahead.failure
        if isinstance(failure, Broken):
            raise stopped(self._name, self._last, self._count, str(failure)) from failure
        if failure is not None:
            raise failure

    def _undo_jump(self, ahead: _Ahead[T], shown: float) -> None:
        """Replaces the next stamps if they are far ahead and those after them are not.

        Args:
            ahead: the frames from the next one on.
            shown: duration of the frame before.
        """
        start, last, held = self._start, self._last, ahead.held
        jump = self._since(held[0][1])
        if start is None or last is None or jump is None:
            return
        if jump <= last + max(self._step, shown) + _RESTART_S:
            return
        for count in range(1, _HELD + 1):
            if not ahead.reach(count + 1):
                return
            time = self._since(held[count][1])
            if time is None or time <= last:
                continue
            if time < jump and time <= last + (count + 1) * self._step + _RESTART_S:
                step = min(self._step, (time - last) / (count + 1))
                for index in range(count):
                    frame, _, duration = held[index]
                    held[index] = frame, start + last + (index + 1) * step, duration
                return
            if time < jump or time > jump + _RESTART_S:
                return

    def _undo_restart(self, stamp: float | None) -> None:
        """Takes back a restart after which the stamps soon return to where they would have continued."""
        time, last = self._since(stamp), self._last
        if self._left is None or stamp is None or time is None or last is None:
            return
        start, number = self._left
        latest = last + self._step + _RESTART_S
        if self._count - number <= _HELD and time > latest >= stamp - start > last:
            self._start = start

    def _seconds(self, stamp: float | None, following: float | None) -> float:
        """Returns the time of the next frame, from its stamp and the stamp of the one after it."""
        last = self._last
        expected = 0.0 if last is None else last + self._step
        if self._start is None and stamp is not None and math.isfinite(stamp):
            # Frames without a stamp may have come before.
            self._start = self.first = stamp - expected
        self._undo_restart(stamp)
        time, ahead = self._since(stamp), self._since(following)
        if last is None or time is None:
            time = expected
        elif ahead is not None and last < ahead and not last < time <= ahead:
            time = min(expected, (last + ahead) / 2)  # only this stamp is wrong
        elif time <= last:
            if ahead is not None and time < last - _RESTART_S and time < ahead:
                assert self._start is not None
                self._left = self._start, self._count
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


class _Ahead(Generic[T]):
    """Frames of a stream, several of which can be looked at before they are taken."""

    def __init__(self, frames: Iterable[tuple[T, float | None, float | None]]) -> None:
        self._stream = iter(frames)
        self._ended = False
        self.held: deque[tuple[T, float | None, float | None]] = deque()
        self.failure: Exception | None = None
        """In what the stream ended."""

    def reach(self, count: int) -> bool:
        """Decodes until `count` frames are held, and returns whether there are as many."""
        while len(self.held) < count and not self._ended:
            try:
                self.held.append(next(self._stream))
            except StopIteration:
                self._ended = True
            except Exception as error:  # whatever it is, the frames held are good
                self.failure, self._ended = error, True
        return len(self.held) >= count


def _shown(duration: float | None) -> float:
    return duration if duration is not None and 0 < duration < _MAX_SHOWN_S else 0.0
