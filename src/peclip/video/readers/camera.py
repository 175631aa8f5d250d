"""A webcam as an endless video."""

from __future__ import annotations

import time
from collections.abc import Iterator

import cv2
import numpy as np

from peclip.errors import DeviceError
from peclip.video.interface import VideoMetadata
from peclip.video.readers.streaming import Endless, Image, stopped


class CameraReader(Endless):
    """Reads a webcam; times are those of the machine's monotonic clock when a frame arrived.

    Args:
        index: number of the camera, 0 for the first one.

    Raises:
        DeviceError: the camera is missing, or delivers no frame.
    """

    def __init__(self, index: int) -> None:
        super().__init__(f"Camera {index}")
        self._capture = cv2.VideoCapture(index)
        good, image = self._capture.read() if self._capture.isOpened() else (False, None)
        if not good or image is None:
            self._capture.release()
            raise DeviceError(
                f"Camera {index} cannot be opened. Use the index of a connected webcam (the "
                "first is 0), close other programs that use the camera, and allow this program "
                "to access it."
            )
        height, width = image.shape[:2]
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self._metadata = VideoMetadata(
            width, height, rate if rate > 0 else None, None, None, "camera", live=True
        )

    @property
    def metadata(self) -> VideoMetadata:
        return self._metadata

    def close(self) -> None:
        self._capture.release()

    def _images(self) -> Iterator[tuple[Image, float]]:
        start: float | None = None
        seconds: float | None = None
        count = 0
        while True:
            good, image = self._capture.read()
            if not good or image is None:
                raise stopped(self._name, seconds, count, "the camera delivers no more frames")
            now = time.monotonic()
            start = now if start is None else start
            seconds = now - start
            count += 1
            yield np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), seconds
