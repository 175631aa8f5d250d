"""How a face looks to a model: sharpness, brightness and pose, and whether that is unlike its training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from peclip.literals import FaceMeasure
from peclip.video.faces import FaceBox, Image

_NOSE_DEPTH = 0.6
"""Distance of the tip of the nose from the plane of the eyes, as a fraction of the distance of the eyes: 4.0 of 6.3
cm in MediaPipe's canonical face model. People differ, so angles are estimates."""

_MIN_EYES = 2.0
"""Pixels between the eyes, below which the line between them means nothing."""

Range = tuple[float | None, float | None]
"""Lowest and highest value; `None` where there is no limit."""


@dataclass(frozen=True, slots=True)
class FaceMeasures:
    """The face of one person in one window, as the model sees it."""

    sharpness: float
    """Variance of the Laplacian of the grey crop at the model's input size, in squared grey levels (Pech-Pacheco et
    al., 2000); median over the crops."""
    brightness: float
    """Mean of the grey crop, 0 to 255; median over the crops."""
    yaw: float | None
    """Turn of the head in degrees, positive if the nose points to the right of the picture; median over the
    window; `None` without landmarks."""
    roll: float | None
    """Angle of the line between the eyes in degrees, positive clockwise; median over the window; `None` without
    landmarks."""


def measure_faces(crops: NDArray[np.uint8], faces: Iterable[FaceBox]) -> FaceMeasures:
    """Measures the crops and the landmarks of one person.

    Args:
        crops: at least one, RGB (T, S, S, 3).
        faces: in the frames of the window.
    """
    grey = [cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops]
    poses = [pose for pose in map(face_pose, faces) if pose is not None]
    return FaceMeasures(
        sharpness=median(sharpness(picture) for picture in grey),
        brightness=median(float(picture.mean()) for picture in grey),
        yaw=median(yaw for yaw, _ in poses) if poses else None,
        roll=median(roll for _, roll in poses) if poses else None,
    )


def sharpness(grey: Image) -> float:
    """Returns the variance of the Laplacian of a grey picture (H, W)."""
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def face_pose(face: FaceBox) -> tuple[float, float] | None:
    """Returns yaw and roll in degrees, from the eyes and the tip of the nose; `None` without them.

    In weak perspective, a head with eyes at the distance 2 e and a nose at the depth d, turned by the yaw y, shows the
    eyes 2 e cos(y) apart and moves the nose by d sin(y): tan(y) = (nose offset / eye distance) / (d / 2 e).
    """
    if face.eyes is None or face.nose is None:
        return None
    (x0, y0), (x1, y1) = face.eyes
    apart = math.hypot(x1 - x0, y1 - y0)
    if apart < _MIN_EYES:
        return None
    across, down = (x1 - x0) / apart, (y1 - y0) / apart
    offset = (face.nose[0] - (x0 + x1) / 2) * across + (face.nose[1] - (y0 + y1) / 2) * down
    yaw = math.atan2(offset / apart, _NOSE_DEPTH)
    return math.degrees(yaw), math.degrees(math.atan2(down, across))


def unlike(
    ranges: Mapping[FaceMeasure, Range], measures: FaceMeasures, size: float
) -> tuple[FaceMeasure, ...]:
    """Returns the measures that are outside their range, in the order of the ranges; angles by their absolute value.

    Args:
        ranges: of the faces that a model was trained on.
        measures: of a face.
        size: longer side of the face in pixels.
    """
    values: dict[FaceMeasure, float | None] = {
        "size": size,
        "sharpness": measures.sharpness,
        "brightness": measures.brightness,
        "yaw": None if measures.yaw is None else abs(measures.yaw),
        "roll": None if measures.roll is None else abs(measures.roll),
    }
    return tuple(name for name, bounds in ranges.items() if not _within(values[name], bounds))


def _within(value: float | None, bounds: Sequence[float | None]) -> bool:
    low, high = bounds
    if value is None:
        return True
    return (low is None or value >= low) and (high is None or value <= high)
