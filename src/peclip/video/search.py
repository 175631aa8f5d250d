"""Chooses the size at which faces are detected: small faces require large frames, which take longer."""

from __future__ import annotations

import math

from peclip.video.detectors.detector import MAX_SIDE, FaceDetector
from peclip.video.faces import FaceBox, Image
from peclip.video.tracking import iou

SMALLEST = 18.0
"""Face size in the scaled frame, in pixels, at which YuNet detects 95 % of faces; at 12 pixels, it detects half."""

LIMIT = 5760
"""Maximum side of a scaled frame, which bounds the memory; three quarters of 8K."""

_LARGEST = 640
"""Faces up to this size in the scaled frame are detected."""
_SAFE = 24.0
"""A face of at least this size in the scaled frame is almost always detected again."""
_STEP = 160
"""Sizes are multiples of this many pixels, because the detector takes time to set up for each new size."""
_PERIOD = 0.5
"""Seconds between two detections at the full size."""
_SAME_FACE = 0.3
"""Minimum overlap at which two boxes show the same face."""


def full_side(longer: int, *, detect_size: int | None, min_face: float) -> int:
    """Returns the longer side in pixels to which a frame is scaled to detect its smallest faces.

    Args:
        longer: the longer side of the frame.
        detect_size: the size chosen by the user; with `None`, faces of `min_face` pixels are detected.
        min_face: smallest face size, in pixels of the original frame.
    """
    if detect_size is not None:
        return min(longer, detect_size)
    scale = min(1.0, SMALLEST / max(min_face, SMALLEST))
    return min(longer, max(MAX_SIDE, min(math.ceil(scale * longer), LIMIT)))


def smallest_face(longer: int, *, detect_size: int | None, min_face: float) -> int:
    """Returns the size of the smallest faces that are detected, in pixels of the original frame; see `full_side`."""
    side = full_side(longer, detect_size=detect_size, min_face=min_face)
    return math.ceil(SMALLEST * longer / side)


class FaceSearch:
    """Detects faces in the frames of a video, at the full size every half second.

    In between, a smaller size is used if the faces found last are large enough for it. If one of them is then
    missing, detection is repeated at the full size.

    Args:
        detector: finds faces.
        detect_size: see `full_side`.
        min_face: see `full_side`.
    """

    def __init__(
        self, detector: FaceDetector, *, detect_size: int | None = None, min_face: float = 24.0
    ) -> None:
        self._detector = detector
        self._detect_size, self._min_face = detect_size, min_face
        self._last_full = -math.inf
        self._known: list[FaceBox] = []

    def find(self, image: Image, time: float) -> list[FaceBox]:
        """Returns the faces in the frame at a time in seconds, in order of decreasing confidence."""
        longer = max(image.shape[:2])
        full = full_side(longer, detect_size=self._detect_size, min_face=self._min_face)
        if time < self._last_full + _PERIOD - 1e-6:
            side = self._smaller(full, longer)
            if side < full:
                found = self._at(image, side)
                if len(found) >= len(self._known):
                    self._known = found
                    return found
        self._last_full = time
        self._known = self._at_full(image, full)
        return self._known

    def _smaller(self, full: int, longer: int) -> int:
        """Returns the smallest size at which the known faces are found, at most the full one."""
        smallest = min((face.side for face in self._known), default=math.inf)
        wanted = max(_SAFE * longer / smallest, MAX_SIDE)
        return min(full, math.ceil(wanted / _STEP) * _STEP)

    def _at_full(self, image: Image, full: int) -> list[FaceBox]:
        found = self._at(image, full)
        if full / max(image.shape[:2]) * min(image.shape[:2]) <= _LARGEST:
            return found
        # A face that fills the frame is too large for the detector at this size.
        coarse = self._at(image, MAX_SIDE)
        more = [face for face in coarse if all(iou(face, other) < _SAME_FACE for other in found)]
        return sorted([*found, *more], key=lambda face: -face.score)

    def _at(self, image: Image, side: int) -> list[FaceBox]:
        if min(side, max(image.shape[:2])) == min(MAX_SIDE, max(image.shape[:2])):
            return self._detector.detect(image)
        return self._detector.detect(image, max_side=side)
