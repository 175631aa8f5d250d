"""Face detectors and face crops."""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from peclip.downloads.direct import RemoteFile, fetch
from peclip.errors import ConfigError, WeightsError
from peclip.literals import DetectorName
from peclip.settings import Settings

Image = NDArray[np.uint8]
"""uint8 (H, W, 3), RGB."""

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

_WARPED_SIDE = 32_766
"""Pixels; OpenCV's warp counts them in 16 bits."""

log = logging.getLogger("peclip")


@dataclass(frozen=True, slots=True)
class FaceBox:
    """One face in one frame, in pixels of the upright frame with the origin at the top left."""

    x: float
    y: float
    width: float
    height: float
    score: float
    """Confidence of the detector, 0 to 1."""
    eyes: tuple[tuple[float, float], tuple[float, float]] | None = None
    """The left eye in the picture, then the right one; `None` if the detector has no points."""

    @property
    def center(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def side(self) -> float:
        """The longer side in pixels."""
        return max(self.width, self.height)


class FaceDetector(Protocol):
    """Finds the faces of one upright frame."""

    name: DetectorName

    def detect(self, image: Image) -> list[FaceBox]:
        """Returns the faces of an RGB image (H, W, 3), the most certain first."""
        ...


class YuNetDetector:
    """YuNet through OpenCV, on the frame scaled to at most `max_side` pixels.

    Faces of about 10 to 300 pixels in the scaled frame are found. Thread-safe.

    Raises:
        WeightsError: the file is not a valid YuNet model.
    """

    name: DetectorName = "yunet"

    def __init__(self, model: str, *, threshold: float = 0.7, max_side: int = 640) -> None:
        self._max_side = max_side
        # One call sets the size of the picture, and the next one reads it.
        self._lock = threading.Lock()
        try:
            self._net = cv2.FaceDetectorYN.create(model, "", (320, 320), threshold, 0.3, 500)
        except cv2.error:
            raise WeightsError(
                f"{model!r} is not a valid YuNet file. Delete it to download it again."
            ) from None

    def detect(self, image: Image) -> list[FaceBox]:
        """Returns the faces of an RGB image (H, W, 3), the most certain first."""
        height, width = image.shape[:2]
        scale = min(1.0, self._max_side / max(height, width))
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
    )


class HaarDetector:
    """OpenCV's frontal-face cascade: no download, frontal faces only, no eye points.

    Its rejection level is not a probability; it is mapped to 0 to 1 so that the default threshold of 0.7
    keeps 95 % of the FER2013 faces that YuNet also finds: level 3 gives 0.70, level 8 gives 0.97.
    """

    name: DetectorName = "haar"

    def __init__(self, *, threshold: float = 0.7, max_side: int = 640) -> None:
        self._threshold, self._max_side = threshold, max_side
        self._lock = threading.Lock()
        folder = Path(cv2.__file__).parent / "data"  # cv2.data has no types
        self._cascade = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_default.xml"))

    def detect(self, image: Image) -> list[FaceBox]:
        """Returns the faces of an RGB image (H, W, 3), the most certain first."""
        height, width = image.shape[:2]
        scale = min(1.0, self._max_side / max(height, width))
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


def load_detector(
    name: DetectorName = "auto", *, settings: Settings, threshold: float = 0.7
) -> FaceDetector:
    """Loads a face detector; `"auto"` is YuNet, or Haar with one warning if YuNet is unavailable.

    Raises:
        ConfigError: the name is unknown.
        WeightsError: YuNet was requested but is neither cached nor downloadable.
    """
    if name == "haar":
        return HaarDetector(threshold=threshold)
    if name not in ("auto", "yunet"):
        raise ConfigError(f"Unknown face detector {name!r}; choose auto, yunet or haar.")
    try:
        return YuNetDetector(
            str(fetch(YUNET, settings.cache_dir, settings=settings)), threshold=threshold
        )
    except WeightsError as error:
        if name == "yunet":
            raise
        log.warning(
            "YuNet is unavailable; falling back to OpenCV's weaker Haar cascade (frontal faces only): %s",
            error,
        )
        return HaarDetector(threshold=threshold)


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
    side = max(2.0, face.side * (1 + margin))
    angle = _roll(face) if align else 0.0
    center_x = face.center[0] - math.sin(angle) * shift * face.side
    center_y = face.center[1] + math.cos(angle) * shift * face.side
    if max(image.shape[:2]) > _WARPED_SIDE:
        image, left, top = _neighbourhood(image, center_x, center_y, side)
        center_x, center_y = center_x - left, center_y - top
    # Warp at a whole multiple of the size and average down: bilinear warping alone would alias.
    multiple = max(1, min(8, round(side / size)))
    large = size * multiple
    scale = large / side
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    matrix = np.array(
        [
            [cos, sin, (large - 1) / 2 - cos * center_x - sin * center_y],
            [-sin, cos, (large - 1) / 2 + sin * center_x - cos * center_y],
        ]
    )
    turned = cv2.warpAffine(
        image, matrix, (large, large), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if multiple > 1:
        turned = cv2.resize(turned, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(turned, dtype=np.uint8)


def _neighbourhood(image: Image, x: float, y: float, side: float) -> tuple[Image, int, int]:
    """Cuts out the region a square around a point can cover in any orientation, with its offset.

    It ends beyond the reach of the square or at the image border, which is replicated as usual.
    """
    reach = min(side / math.sqrt(2) + 2, _WARPED_SIDE / 2 - 1)
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
