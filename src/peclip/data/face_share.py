"""Cropped face, portrait or whole scene? The most likely reason published numbers are not reproduced."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from peclip.data.check_report import FaceShare
from peclip.errors import VideoError

if TYPE_CHECKING:
    from peclip.video.detectors.detector import FaceDetector
    from peclip.video.faces import Image

PORTRAIT_SHARE = 0.2
"""A face box of at least this fraction of the frame is no whole scene. Measured with YuNet: 0.31 to 0.61 for peclip's
crops, 0.81 for FER2013 (median); 0.11 and 0.14 for two videos of one person talking to the camera."""

CROP_SIDE = 0.8
"""Frames are like a model's crops if its crop has at least this fraction of their shorter side. A face of 31 % of the
frame, the smallest measured for crops with a margin of 0.3, has 0.84 with this margin."""

_FRAMES = 3


def measure_face_share(
    sources: Sequence[Path], detector: FaceDetector, *, margin: float = 0.3, videos: int = 20
) -> FaceShare:
    """Detects faces in three frames of some videos.

    Args:
        sources: videos, folders of frames or stills; some are drawn, the same in each run.
        detector: of faces.
        margin: of the model's crops, see `PreprocessConfig.face_margin`.
        videos: maximum number of videos drawn.

    Returns:
        `face` if the frames are like the model's crops; otherwise `portrait` or `scene` by the median share of the
        frame; `unclear` if a face is found in fewer than half of the frames.
    """
    drawn = random.Random(0).sample(sorted(sources), min(videos, len(sources)))
    frames, shares, sides = 0, list[float](), list[float]()
    for source in drawn:
        for image in _some_frames(source):
            frames += 1
            found = detector.detect(image)
            if found:
                face = max(found, key=lambda one: one.width * one.height)
                height, width = image.shape[:2]
                shares.append(min(1.0, face.width * face.height / (height * width)))
                sides.append(face.side * (1 + margin) / min(height, width))
    share = float(statistics.median(shares)) if shares else None
    side = float(statistics.median(sides)) if sides else None
    verdict = _verdict(share, side) if 2 * len(shares) >= frames else "unclear"
    return FaceShare(verdict, share, side, frames, len(shares), detector.name)


def _verdict(
    share: float | None, side: float | None
) -> Literal["face", "portrait", "scene", "unclear"]:
    if share is None or side is None:
        return "unclear"
    if side >= CROP_SIDE:
        return "face"
    return "portrait" if share >= PORTRAIT_SHARE else "scene"


def _some_indices(length: int) -> list[int]:
    return sorted({length * (2 * part + 1) // (2 * _FRAMES) for part in range(_FRAMES)})


def _some_frames(source: Path) -> list[Image]:
    """Returns frames at one, three and five sixths of a video; none if it cannot be read."""
    from peclip.video.chosen_frames import read_chosen
    from peclip.video.reader import open_video

    try:
        with open_video(source, decoder="pyav", num_threads=1) as reader:
            return list(read_chosen(reader, _some_indices).data)
    except VideoError:  # the check of files has reported it
        return []
