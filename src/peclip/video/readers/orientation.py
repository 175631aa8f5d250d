"""The eight orientations in which a frame can be stored, and the display matrix that specifies one.

Used by both decoders; decodes nothing itself.
"""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

TOLERANCE = math.sin(math.radians(0.5))
"""ffmpeg rounds the angle of a matrix to whole degrees."""

_PRECISION = 2**16
"""The first two columns of a display matrix are fixed-point numbers of 16.16 bits."""


class Orientation(NamedTuple):
    """Where the point (x, y) of the stored frame is displayed: at (ax + cy, bx + dy), y downwards.

    Each number is -1, 0 or 1. The eight combinations are the quarter turns, each with and without mirroring.
    """

    a: int
    b: int
    c: int
    d: int

    def upright(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns a view of images (..., H, W, 3) in their display orientation."""
        shown = images if self.a else images.swapaxes(-3, -2)
        x, y = -1 if self.a + self.c < 0 else 1, -1 if self.b + self.d < 0 else 1
        return shown[..., ::y, ::x, :]

    def after_turning_back(self, quarter_turns: int) -> Orientation:
        """Returns the orientation that remains for a frame that was already rotated counter-clockwise."""
        a, b, c, d = AS_STORED
        for _ in range(quarter_turns % 4):  # each one is undone by a clockwise one
            a, b, c, d = -b, a, -d, c
        return Orientation(
            a * self.a + b * self.c,
            a * self.b + b * self.d,
            c * self.a + d * self.c,
            c * self.b + d * self.d,
        )


AS_STORED = Orientation(1, 0, 0, 1)


def orientation_of(matrix: bytes) -> Orientation | None:
    """Returns a display matrix's orientation; `None` if it is not one of the eight.

    Scale and position are ignored, as in ffmpeg.

    Args:
        matrix: nine 32-bit integers, as in the side data of FFmpeg.
    """
    values = np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2].astype(np.float64)
    lengths = np.hypot(*values)  # of the columns
    if not lengths.all():
        return None
    exact = values / lengths
    rounded = np.rint(exact)
    # Both columns may lie along the same axis, which leaves a line of the picture.
    if np.abs(exact - rounded).max() > TOLERANCE or not np.abs(rounded).sum(1).all():
        return None
    return Orientation(*(int(number) for number in rounded.ravel()))


class Turner:
    """Finds the orientation of each frame of a video; warns once about an unsupported matrix."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._warned = False
        self._matrix: bytes | None = None
        self._orientation = AS_STORED

    def orientation(self, matrix: bytes | None) -> Orientation:
        """Returns the orientation of a frame with this display matrix."""
        if matrix != self._matrix:  # it rarely changes
            found = AS_STORED if matrix is None else orientation_of(matrix)
            if found is None and matrix is not None:
                self._warn(matrix)
            self._matrix, self._orientation = matrix, found or AS_STORED
        return self._orientation

    def _warn(self, matrix: bytes) -> None:
        if self._warned:
            return
        self._warned = True
        a, b, _, c, d = (value / _PRECISION for value in np.frombuffer(matrix, np.int32, 5))
        logger.warning(
            "%s: the display matrix [%g %g; %g %g] is ignored, because it is neither a mirror image nor "
            "a quarter turn; frames are used as stored. Rotate them with: ffmpeg -i INPUT output.mp4",
            self._name,
            a,
            b,
            c,
            d,
        )
