"""OpenCV's class for YuNet without the network: it reports faces that a test has chosen."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from peclip.video.detectors.yunet import YUNET

Find = Callable[[NDArray[np.uint8]], list[list[float]]]


def face_row(x: float, y: float, width: float, height: float, score: float) -> list[float]:
    """Returns what YuNet reports of a face: box, five points (x, y) and score.

    The points are the person's right and left eye, the nose, and the right and left corner of the mouth.
    """
    places = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    points = [value for a, b in places for value in (x + a * width, y + b * height)]
    return [x, y, width, height, *points, score]


@dataclass
class FakeYuNet:
    """Stands for `cv2.FaceDetectorYN`, which refuses a picture of another size than was set."""

    find: Find
    size: tuple[int, int] = (0, 0)
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)
    created: list[tuple[object, ...]] = field(default_factory=list)

    def setInputSize(self, size: tuple[int, int]) -> None:
        self.size = size

    def detect(self, picture: NDArray[np.uint8]) -> tuple[int, NDArray[np.float32] | None]:
        assert picture.shape == (self.size[1], self.size[0], 3)
        self.pictures.append(picture)
        rows = self.find(picture)
        return 1, np.array(rows, np.float32) if rows else None


def install(monkeypatch: pytest.MonkeyPatch, net: FakeYuNet) -> Path:
    """Replaces OpenCV's class, and puts a file of YuNet's name into the cache, as a download would."""

    def create(*arguments: object) -> FakeYuNet:
        net.created.append(arguments)
        return net

    monkeypatch.setattr(cv2, "FaceDetectorYN", SimpleNamespace(create=create))
    path = Path(os.environ["PECLIP_CACHE_DIR"]) / YUNET.name
    path.write_bytes(b"not read")
    return path
