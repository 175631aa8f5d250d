"""Face crops, and squares of whole frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 (H, W, 3), RGB."""

Point = tuple[float, float]
"""x and y in pixels."""

_WARPED_SIDE = 32_766
"""Pixels; OpenCV's warp counts them in 16 bits."""


@dataclass(frozen=True, slots=True)
class FaceBox:
    """One face in one frame, in pixels of the upright frame with the origin at the top left."""

    x: float
    y: float
    width: float
    height: float
    score: float
    """Confidence of the detector, 0 to 1."""
    eyes: tuple[Point, Point] | None = None
    """The left eye in the picture, then the right one; `None` if the detector has no points."""
    nose: Point | None = None
    """The tip of the nose; `None` if the detector has no points."""

    @property
    def center(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def side(self) -> float:
        """The longer side in pixels."""
        return max(self.width, self.height)


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """The square around a face, before it is cut out: what it shows of an image, and where.

    `crop_face` explains the arguments of `of`.
    """

    image: Image
    """The part of the image that the square may cover."""
    center: Point
    """Of the square, in pixels of `image`."""
    side: float
    """Of the square in pixels."""
    angle: float
    """Of the square in radians, positive clockwise."""
    size: int
    """Side of the result in pixels."""

    @classmethod
    def of(
        cls,
        image: Image,
        face: FaceBox,
        *,
        size: int,
        margin: float,
        shift: float = 0.0,
        align: bool = True,
    ) -> FaceCrop:
        """Returns the square around a face, with a view of the image."""
        side = max(2.0, face.side * (1 + margin))
        angle = _roll(face) if align else 0.0
        center_x = face.center[0] - math.sin(angle) * shift * face.side
        center_y = face.center[1] + math.cos(angle) * shift * face.side
        part, left, top = _neighbourhood(image, center_x, center_y, side, angle)
        return cls(part, (center_x - left, center_y - top), side, angle, size)

    def cut(self) -> Image:
        """Returns the square, (size, size, 3)."""
        # Warp at a whole multiple of the size and average down: bilinear warping alone would alias.
        multiple = max(1, min(8, round(self.side / self.size)))
        large = self.size * multiple
        scale = large / self.side
        cos, sin = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        center_x, center_y = self.center
        matrix = np.array(
            [
                [cos, sin, (large - 1) / 2 - cos * center_x - sin * center_y],
                [-sin, cos, (large - 1) / 2 + sin * center_x - cos * center_y],
            ]
        )
        turned = cv2.warpAffine(
            self.image,
            matrix,
            (large, large),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if multiple > 1:
            size = (self.size, self.size)
            turned = cv2.resize(turned, size, interpolation=cv2.INTER_AREA)
        return np.asarray(turned, dtype=np.uint8)


def crop_face(
    image: Image, face: FaceBox, *, size: int, margin: float, shift: float = 0.0, align: bool = True
) -> Image:
    """Cuts a square around a face, turned so that the eyes are level.

    Args:
        image: RGB, (H, W, 3).
        face: the face in the image.
        size: side of the result in pixels.
        margin: the square's side is the face's longer side times one plus this.
        shift: moves the square down, in the face's own direction, by this part of the longer side.
        align: rotate so that the eyes are level, if they are known.

    Returns:
        (size, size, 3). What lies outside the image repeats its border.
    """
    crop = FaceCrop.of(image, face, size=size, margin=margin, shift=shift, align=align)
    return crop.cut()


def _neighbourhood(
    image: Image, x: float, y: float, side: float, angle: float
) -> tuple[Image, int, int]:
    """Returns a view of the region that a turned square around a point covers, with its offset.

    It ends beyond the reach of the square or at the image border, which is replicated as usual.
    """
    across = side / 2 * (abs(math.cos(angle)) + abs(math.sin(angle)))
    reach = min(across + 2, _WARPED_SIDE / 2 - 1)
    left, right = _span(x, reach, image.shape[1])
    top, bottom = _span(y, reach, image.shape[0])
    return image[top:bottom, left:right], left, top


def _span(middle: float, reach: float, length: int) -> tuple[int, int]:
    """Returns the range of a line's pixels within reach: at least the nearest one."""
    first, end = math.floor(middle - reach), math.ceil(middle + reach)
    return min(max(first, 0), length - 1), max(min(end, length), 1)


def centre_square(image: Image) -> FaceBox:
    """Returns the box that `resize_frame` cuts out, for videos that are already cropped to a face."""
    height, width = image.shape[:2]
    side = min(height, width)
    return FaceBox((width - side) // 2, (height - side) // 2, side, side, 1.0)


def resize_frame(image: Image, size: int) -> Image:
    """Scales the shorter side of a frame to `size` and cuts the centre square, as CLIP does."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    method = cv2.INTER_AREA if side >= size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=method), dtype=np.uint8)


def _roll(face: FaceBox) -> float:
    """Angle of the eye line in radians, positive clockwise; 0 where eyes are unknown or degenerate."""
    if face.eyes is None:
        return 0.0
    (x0, y0), (x1, y1) = face.eyes
    if math.hypot(x1 - x0, y1 - y0) < 2:  # a profile view: the line means nothing
        return 0.0
    angle = math.atan2(y1 - y0, x1 - x0)
    return angle if abs(angle) <= math.radians(60) else 0.0
