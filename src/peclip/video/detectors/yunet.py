"""YuNet, a convolutional face detector, through OpenCV."""

from __future__ import annotations

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from peclip.downloads.direct import RemoteFile, fetch
from peclip.errors import WeightsError
from peclip.literals import DetectorName
from peclip.settings import Settings
from peclip.video.detectors.detector import MAX_SIDE
from peclip.video.faces import FaceBox, Image

YUNET = RemoteFile(
    name="face_detection_yunet_2023mar.onnx",
    url="https://github.com/opencv/opencv_zoo/raw/fef72f8fa7c52eaf116d3df358d24e6e959ada0e"
    "/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    size=232_589,
)
"""YuNet (Wu et al., 2023), 75,856 parameters, MIT licence, from the OpenCV Zoo."""

_SMALLEST_SIDE = 10
"""Pixels; YuNet finds faces from about this size on."""


class YuNetDetector:
    """YuNet through OpenCV; thread-safe.

    In the scaled image, it detects 95 % of faces 18 pixels wide, half of those 12 pixels wide, and all from
    200 to 640 pixels.

    Raises:
        WeightsError: the file is not a valid YuNet model.
    """

    name: DetectorName = "yunet"

    def __init__(self, model: str, *, threshold: float = 0.7) -> None:
        # One call sets the size of the picture, and the next one reads it.
        self._lock = threading.Lock()
        try:
            self._net = cv2.FaceDetectorYN.create(model, "", (320, 320), threshold, 0.3, 500)
        except cv2.error:
            raise WeightsError(
                f"{model!r} is not a valid YuNet file. Delete it, and it will be downloaded again."
            ) from None

    def detect(self, image: Image, max_side: int = MAX_SIDE) -> list[FaceBox]:
        """Returns the faces of an RGB image (H, W, 3), the most certain first."""
        height, width = image.shape[:2]
        scale = min(1.0, max_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if min(size) < _SMALLEST_SIDE:
            return []  # OpenCV sometimes detects faces in the padding of such a picture
        small = cv2.cvtColor(
            cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR
        )
        with self._lock:
            self._net.setInputSize(size)
            _, found = self._net.detect(small)
        if found is None:
            return []
        faces = [
            _yunet_box(row, width / size[0], height / size[1])
            for row in np.asarray(found, dtype=np.float64)
            if np.isfinite(row).all() and row[2] > 0 and row[3] > 0
        ]
        return sorted(faces, key=lambda face: -face.score)


def _yunet_box(row: NDArray[np.float64], scale_x: float, scale_y: float) -> FaceBox:
    x, y, width, height, *points = (float(value) for value in row)
    return FaceBox(
        x=x * scale_x,
        y=y * scale_y,
        width=width * scale_x,
        height=height * scale_y,
        score=min(1.0, points[10]),
        eyes=(
            (points[0] * scale_x, points[1] * scale_y),
            (points[2] * scale_x, points[3] * scale_y),
        ),
        nose=(points[4] * scale_x, points[5] * scale_y),
    )


def load_yunet(settings: Settings, threshold: float) -> YuNetDetector:
    """Loads YuNet; its file is downloaded on first use.

    Raises:
        WeightsError: it is neither cached nor downloadable.
    """
    file = fetch(YUNET, settings.cache_dir, settings=settings)
    return YuNetDetector(str(file), threshold=threshold)
