"""OpenCV's Haar cascade of frontal faces, which needs no download."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import cv2
import numpy as np

from peclip.literals import DetectorName
from peclip.settings import Settings
from peclip.video.detectors.detector import MAX_SIDE
from peclip.video.faces import FaceBox, Image


class HaarDetector:
    """OpenCV's frontal-face cascade: no download, frontal faces only, no eye points.

    Its rejection level is not a probability; it is mapped to 0 to 1 so that the default threshold of 0.7
    keeps 95 % of the FER2013 faces that YuNet also finds: level 3 gives 0.70, level 8 gives 0.97.
    """

    name: DetectorName = "haar"

    def __init__(self, *, threshold: float = 0.7) -> None:
        self._threshold = threshold
        self._lock = threading.Lock()
        folder = Path(cv2.__file__).parent / "data"  # cv2.data has no types
        self._cascade = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_default.xml"))

    def detect(self, image: Image, max_side: int = MAX_SIDE) -> list[FaceBox]:
        """Returns the faces of an RGB image (H, W, 3), the most certain first."""
        height, width = image.shape[:2]
        scale = min(1.0, max_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey = cv2.cvtColor(
            cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        )
        with self._lock:
            boxes, _, levels = self._cascade.detectMultiScale3(
                grey, scaleFactor=1.1, minNeighbors=5, minSize=(20, 20), outputRejectLevels=True
            )
        faces = []
        for (x, y, w, h), level in zip(boxes, np.ravel(levels), strict=True):
            score = 1 / (1 + math.exp(-(float(level) - 1.3) / 2))
            if score >= self._threshold:
                faces.append(_as_yunet(x / scale, y / scale, w / scale, h / scale, score))
        return sorted(faces, key=lambda face: -face.score)


def _as_yunet(x: float, y: float, width: float, height: float, score: float) -> FaceBox:
    """Reshapes a Haar square to YuNet's box, so that both detectors give the same crop.

    On 895 images of FER2013's training set that both find, the median YuNet box has the same centre,
    0.79 of the width and 1.04 of the height.
    """
    narrow, tall = 0.79 * width, 1.04 * height
    return FaceBox(x + (width - narrow) / 2, y + (height - tall) / 2, narrow, tall, score)


def load_haar(settings: Settings, threshold: float) -> HaarDetector:
    """Loads the cascade, which OpenCV includes."""
    return HaarDetector(threshold=threshold)
