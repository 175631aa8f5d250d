"""The interface of face detectors."""

from __future__ import annotations

from typing import Protocol

from peclip.literals import DetectorName
from peclip.video.faces import FaceBox, Image

MAX_SIDE = 640
"""Default longer side of a scaled image in pixels; `video.search` chooses larger sizes for small faces."""


class FaceDetector(Protocol):
    """Finds the faces of one upright frame."""

    name: DetectorName

    def detect(self, image: Image, max_side: int = MAX_SIDE) -> list[FaceBox]:
        """Returns the faces in an RGB image (H, W, 3), in order of decreasing confidence.

        A larger image is scaled to a longer side of `max_side` pixels; a smaller one is not enlarged.
        """
        ...
