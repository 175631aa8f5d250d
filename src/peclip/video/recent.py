"""Keeps the observations that a window may still need, in bounded memory regardless of their times."""

from __future__ import annotations

import bisect
from array import array
from collections import deque

from peclip.video.observer import EPSILON, Observation

MAX_KEPT = 1024
"""Maximum number of observations in memory; longer windows are subsampled evenly."""

KEPT_BYTES = 256 * 2**20
"""Maximum size of the crops in memory: 890 frames with two crops of 224x224 pixels."""

WAITING_BYTES = 64 * 2**20
"""Maximum size of the pixels from which crops have not been made yet; all crops are then made."""

_MIN_KEPT = 32
"""Number of observations that are always kept, because a crowd fills the memory in a second."""


class Recent:
    """Observations of consecutive frames, subsampled evenly if a window is too long.

    Args:
        every_frame: whether the times of all frames are kept, so that window bounds are exact, rather than only
            that of the first frame.
    """

    def __init__(self, *, every_frame: bool) -> None:
        self._kept: deque[tuple[int, Observation]] = (
            deque()
        )  # each with its place among those added
        self._bytes = 0
        self._waiting_bytes = 0  # at most: some crops have been made since
        self._times = _FrameTimes()
        self._every_frame = every_frame
        self._added, self._thinning = 0, 1

    def add(self, observation: Observation) -> None:
        while self._is_full():
            self._thinning *= 2
            # By place, so that what was thinned out before is not thinned out more than the rest.
            kept = [(place, seen) for place, seen in self._kept if place % self._thinning == 0]
            self._kept = deque(kept)
            self._bytes = sum(_size(seen) for _, seen in kept)
        if self._added % self._thinning == 0:
            self._kept.append((self._added, observation))
            self._bytes += _size(observation)
            self._waiting_bytes += _waiting(observation)
            self._make_crops()
        if self._added == 0 or self._every_frame:
            self._times.add(observation.index, observation.time)
        self._added += 1

    def forget(self, before: float) -> None:
        """Drops observations before a time."""
        while self._kept and self._kept[0][1].time < before - EPSILON:
            self._bytes -= _size(self._kept.popleft()[1])
        self._times.forget(before - EPSILON)
        # One crowded second does not thin out the rest of the video.
        if len(self._kept) <= MAX_KEPT // 4 and self._bytes <= KEPT_BYTES // 4:
            self._thinning = max(1, self._thinning // 2)

    def between(self, start: float, end: float) -> tuple[list[Observation], tuple[int, int] | None]:
        """Returns the observations in an interval, and the indices of its first and last frames."""
        first, last = start - EPSILON, end - EPSILON
        inside = [seen for _, seen in self._kept if first <= seen.time < last]
        return inside, self._times.bounds(first, last)

    def _make_crops(self) -> None:
        """Makes the crops if too many pixels wait for that."""
        if self._waiting_bytes <= WAITING_BYTES:
            return
        self._waiting_bytes = sum(_waiting(seen) for _, seen in self._kept)
        if self._waiting_bytes <= WAITING_BYTES // 2:
            return
        for sighting in (one for _, seen in self._kept for one in seen.sightings):
            _ = sighting.crop
        self._waiting_bytes = 0

    def _is_full(self) -> bool:
        count = len(self._kept)
        return count >= MAX_KEPT or (count > _MIN_KEPT and self._bytes >= KEPT_BYTES)


class _FrameTimes:
    """Times of consecutive frames: 8 bytes each, and of every second frame where they are too many."""

    _MOST = 2**22

    def __init__(self) -> None:
        self._times = array("d")
        self._first, self._stride = 0, 1
        self._dropped = 0  # at the beginning of the array, which is shortened seldom

    def add(self, index: int, time: float) -> None:
        if not self._times:
            self._first, self._stride = index, 1
        if (index - self._first) % self._stride:
            return
        self._times.append(time)
        if len(self._times) > self._MOST:
            self._compact()
            if len(self._times) > self._MOST // 2:
                self._times, self._stride = self._times[::2], self._stride * 2

    def forget(self, before: float) -> None:
        self._dropped = bisect.bisect_left(self._times, before, lo=self._dropped)
        if self._dropped > len(self._times) // 2:
            self._compact()

    def bounds(self, start: float, end: float) -> tuple[int, int] | None:
        """Returns the indices of the first and the last frame from `start` to before `end`."""
        low = bisect.bisect_left(self._times, start, lo=self._dropped)
        high = bisect.bisect_left(self._times, end, lo=low)
        if low == high:
            return None
        return self._first + low * self._stride, self._first + (high - 1) * self._stride

    def _compact(self) -> None:
        del self._times[: self._dropped]
        self._first += self._dropped * self._stride
        self._dropped = 0


def _size(observation: Observation) -> int:
    return sum(sighting.crop_bytes for sighting in observation.sightings)


def _waiting(observation: Observation) -> int:
    return sum(sighting.waiting_bytes for sighting in observation.sightings)
