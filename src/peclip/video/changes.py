"""Finds where frames have changed, since faces that have just come into view are there."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from peclip.video.faces import Image

_CELL = 16
"""Side in pixels of the squares whose means are compared: a face of 24 pixels covers half of one at least."""

_CHANGED = 3.0
"""Difference of two means, in levels of a channel. The noise of a camera and of compression is below 1."""

_HELD = 2.0
"""Seconds in which what has changed is searched again: a face that fades in may be too faint to be found at first,
and changes by less than `_CHANGED` between two searches."""


class Changes:
    """Compares frames with what was searched before, square by square, so that slow changes add up."""

    def __init__(self) -> None:
        self._searched: NDArray[np.float32] | None = None
        self._times: NDArray[np.float64] = np.empty(0)  # of the last change of each square

    def rectangle(self, image: Image, time: float) -> tuple[int, int, int, int] | None:
        """Returns the left, top, right and bottom of what has changed since earlier calls, or in the last 2 s.

        The whole image if this is unknown; `None` if nothing has changed. `time` is in seconds.
        """
        height, width = image.shape[:2]
        rows, columns = height // _CELL, width // _CELL
        everything = 0, 0, width, height
        if not rows or not columns:
            return everything
        squares = image[: rows * _CELL, : columns * _CELL]
        means = cv2.resize(squares, (columns, rows), interpolation=cv2.INTER_AREA)
        now = np.asarray(means, np.float32)
        before, self._searched = self._searched, now
        if before is None or before.shape != now.shape:
            self._times = np.full((rows, columns), -np.inf)
            return everything
        changed = np.abs(now - before).max(-1) > _CHANGED
        now[~changed] = before[~changed]
        self._times[changed] = time
        changed = self._times >= time - _HELD
        ys, xs = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        if not len(ys):
            return None
        right = width if xs[-1] == columns - 1 else int(xs[-1] + 1) * _CELL
        bottom = height if ys[-1] == rows - 1 else int(ys[-1] + 1) * _CELL
        return int(xs[0]) * _CELL, int(ys[0]) * _CELL, right, bottom
