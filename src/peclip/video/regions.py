"""Parts of a frame in which faces are detected as in the whole frame, in the coordinates of the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from peclip.video.detectors.detector import FaceDetector
from peclip.video.faces import FaceBox, Image, Point

_GRID = 32
"""Regions begin and end at multiples of this many scaled pixels, the coarsest stride of YuNet, so that the detector
places its anchors as in the whole frame and finds the same boxes."""

_REACH = 0.5
"""Distance from a face to the border of its region, as a fraction of the face's longer side, for its motion."""

_CONTEXT = 64
"""Minimum distance from a face to the border of its region, in scaled pixels: YuNet's boxes depend on what surrounds
a small face. With half of this, boxes of 20 pixels move by 6 %."""

_SETUP = 5000
"""Pixels whose detection takes as long as the setup of one detection."""


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a frame in pixels, and the factor by which it is scaled for the detector."""

    left: int
    top: int
    right: int
    bottom: int
    scale: float

    @property
    def cost(self) -> float:
        """The time of a detection, in the time that it takes per scaled pixel."""
        area = (self.right - self.left) * (self.bottom - self.top)
        return _SETUP + area * self.scale**2

    def detect(self, detector: FaceDetector, image: Image) -> list[FaceBox]:
        """Returns the faces in this region of an image, in pixels of the image."""
        part = image[self.top : self.bottom, self.left : self.right]
        side = max(1, round(max(part.shape[:2]) * self.scale))
        return [_moved(face, self.left, self.top) for face in detector.detect(part, max_side=side)]


def whole(image: Image, side: int) -> Region:
    """Returns the region of a whole image, scaled to a longer side in pixels."""
    height, width = image.shape[:2]
    return Region(0, 0, width, height, min(1.0, side / max(height, width)))


def around(image: Image, face: FaceBox, scale: float) -> Region:
    """Returns the region of an image in which a face is found again shortly afterwards."""
    reach = face.side / 2 + max(_REACH * face.side, _CONTEXT / scale)
    x, y = face.center
    return aligned(image, x - reach, y - reach, x + reach, y + reach, scale)


def aligned(
    image: Image, left: float, top: float, right: float, bottom: float, scale: float
) -> Region:
    """Returns the smallest region of an image that begins and ends on the grid and contains a rectangle."""
    height, width = image.shape[:2]
    first, end = _span(left, right, _GRID / scale, width)
    above, below = _span(top, bottom, _GRID / scale, height)
    return Region(first, above, end, below, scale)


def union(regions: list[Region]) -> Region:
    """Returns the region that contains one or more regions of the same scale."""
    return Region(
        min(one.left for one in regions),
        min(one.top for one in regions),
        max(one.right for one in regions),
        max(one.bottom for one in regions),
        regions[0].scale,
    )


def _span(first: float, end: float, step: float, length: int) -> tuple[int, int]:
    """Returns an interval of pixels between multiples of a step, or up to the border."""
    last = (math.ceil(length / step) - 1) * step
    low = min(max(0.0, math.floor(first / step) * step), last)
    return round(low), min(length, max(round(low + step), round(math.ceil(end / step) * step)))


def _moved(face: FaceBox, x: int, y: int) -> FaceBox:
    def point(point: Point) -> Point:
        return point[0] + x, point[1] + y

    return replace(
        face,
        x=face.x + x,
        y=face.y + y,
        eyes=None if face.eyes is None else (point(face.eyes[0]), point(face.eyes[1])),
        nose=None if face.nose is None else point(face.nose),
    )
