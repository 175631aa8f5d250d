"""The interface of face detectors."""

from __future__ import annotations

from typing import Protocol

from peclip.literals import DetectorName
from peclip.video.faces import FaceBox, Image


class FaceDetector(Protocol):
    """Finds the faces of one upright frame."""

    name: DetectorName

    def detect(self, image: Image) -> list[FaceBox]:
        """Returns the faces of an RGB image (H, W, 3), the most certain first."""
        ...
