"""Pictures of parts, as FineCLIPER's encoders read them: a coloured parsing map and yellow landmarks.

The looks are those of FaceXFormer's own pictures, which the paper's figure shows: eleven colours laid over
the face half and half, and 68 points in yellow. The regions are drawn from MediaPipe's topology; hair has
no landmarks and is not coloured, unless a parser provides its own maps.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from peclip.video.parts import Parts

Picture = NDArray[np.uint8]

CLASSES = (
    "background",
    "skin",
    "left brow",
    "right brow",
    "left eye",
    "right eye",
    "nose",
    "upper lip",
    "inner mouth",
    "lower lip",
    "hair",
)
"""Classes of a parsing map, by number; left and right are the person's."""

COLOURS = (
    (0, 0, 0),
    (0, 153, 255),
    (102, 255, 153),
    (0, 204, 153),
    (255, 255, 102),
    (255, 255, 204),
    (255, 153, 0),
    (255, 102, 255),
    (102, 0, 51),
    (255, 204, 255),
    (255, 0, 102),
)
"""RGB, by class; the background is left as it is."""

YELLOW = (255, 255, 0)

# Numbers of MediaPipe's 478 points along the borders of the regions. The points of a convex region may come
# in any order: its hull is filled.
_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
_LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
_RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
_LEFT_EYE = (362, 382, 381, 380, 374, 373, 390, 249, 263, 466, 388, 387, 386, 385, 384, 398)
_NOSE_HULL = (168, 193, 417, 188, 412, 198, 420, 48, 278, 64, 294, 98, 327, 97, 326, 2)
_UPPER_LIP = (
    *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    *(308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78),
)
_LOWER_LIP = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95, 78),
)
_INNER_MOUTH = (
    *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    *(324, 318, 402, 317, 14, 87, 178, 88, 95),
)

_REGIONS = (
    (1, _OVAL),
    (2, _LEFT_BROW),
    (3, _RIGHT_BROW),
    (4, _LEFT_EYE),
    (5, _RIGHT_EYE),
    (6, _NOSE_HULL),
    (8, _INNER_MOUTH),  # before the lips, whose edges cover the line that is left of a closed mouth
    (7, _UPPER_LIP),
    (9, _LOWER_LIP),
)
_CONVEX = {1, 6}

# The 68 points of the usual annotation (Sagonas et al., 2013), by their nearest of MediaPipe's.
POINTS_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)

_FINE = 4  # bits below a pixel in cv2's coordinates


def draw_parts(parts: Parts, crops: Picture) -> Picture:
    """Draws the pictures that the parsing and the landmark encoder read.

    Args:
        parts: of T frames.
        crops: uint8 (T, S, S, 3), RGB.

    Returns:
        uint8 (T, 2, S, S, 3): the parsing map, then the landmarks, both over the crop. A frame without a
        face is the crop itself: `parts.found` masks it.
    """
    drawn = np.stack([crops, crops], axis=1)
    for number in np.flatnonzero(parts.found).tolist():
        points = parts.landmarks[number]
        own = None if parts.maps is None else parts.maps[number]
        drawn[number, 0] = draw_parsing(crops[number], points, own)
        drawn[number, 1] = draw_landmarks(crops[number], points)
    return drawn


def parsing_map(points: NDArray[np.float32], size: int) -> Picture:
    """Draws a parsing map from landmarks.

    Args:
        points: (478, 2), in fractions of the side.
        size: S, the side in pixels.

    Returns:
        Class numbers, uint8 (S, S).
    """
    drawn = np.zeros((size, size), np.uint8)
    pixels = _to_pixels(points, size)
    for number, border in _REGIONS:
        polygon = pixels[list(border)]
        if number in _CONVEX:
            polygon = np.asarray(cv2.convexHull(polygon)[:, 0], np.int32)
        cv2.fillPoly(drawn, [polygon], [number], shift=_FINE)
    return drawn


def draw_parsing(
    picture: Picture, points: NDArray[np.float32], own_map: Picture | None = None
) -> Picture:
    """Blends the class colours half and half into a picture (S, S, 3), except for the background."""
    size = picture.shape[0]
    classes = parsing_map(points, size) if own_map is None else own_map
    if classes.shape != (size, size):
        classes = np.asarray(
            cv2.resize(classes, (size, size), interpolation=cv2.INTER_NEAREST), np.uint8
        )
    colours = np.array(COLOURS, np.uint16)[classes]
    mixed = ((picture.astype(np.uint16) + colours) // 2).astype(np.uint8)
    return np.where(classes[..., None] > 0, mixed, picture)


def draw_landmarks(picture: Picture, points: NDArray[np.float32]) -> Picture:
    """Draws 68 points in yellow on a picture (S, S, 3); their size grows with it."""
    drawn = picture.copy()
    radius = max(1, round(picture.shape[0] / 112))
    for x, y in _to_pixels(points[list(POINTS_68)], picture.shape[0]).tolist():
        cv2.circle(drawn, (x, y), radius << _FINE, YELLOW, cv2.FILLED, cv2.LINE_AA, _FINE)
    return drawn


def _to_pixels(points: NDArray[np.float32], size: int) -> NDArray[np.int32]:
    """Returns points in cv2's fixed-point pixels, clipped far outside the picture."""
    pixels = np.clip(points, -4, 5) * size - 0.5
    return np.round(pixels * (1 << _FINE)).astype(np.int32)
