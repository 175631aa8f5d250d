"""Cropped face or whole scene? The most likely reason published numbers are not reproduced."""

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

CROP_SHARE = 0.2
"""A face box of at least this fraction of the frame is a crop. Measured with YuNet: 0.31 to 0.61 for peclip's
crops, 0.81 for FER2013 (median); 0.11 and 0.14 for two videos of one person talking to the camera."""

_FRAMES = 3


def measure_face_share(
    sources: Sequence[Path], detector: FaceDetector, *, videos: int = 20
) -> FaceShare:
    """Detects faces in three frames of some videos.

    Args:
        sources: videos, folders of frames or stills; some are drawn, the same in each run.
        detector: of faces.
        videos: maximum number of videos drawn.

    Returns:
        `face` or `scene` by the median share of the frame; `unclear` if a face is found in fewer than half
        of the frames.
    """
    drawn = random.Random(0).sample(sorted(sources), min(videos, len(sources)))
    frames, shares = 0, list[float]()
    for source in drawn:
        for image in _some_frames(source):
            frames += 1
            found = detector.detect(image)
            if found:
                largest = max(face.width * face.height for face in found)
                shares.append(min(1.0, largest / (image.shape[0] * image.shape[1])))
    median = float(statistics.median(shares)) if shares else None
    verdict: Literal["face", "scene", "unclear"] = "unclear"
    if median is not None and 2 * len(shares) >= frames:
        verdict = "face" if median >= CROP_SHARE else "scene"
    return FaceShare(verdict, median, frames, len(shares), detector.name)


def _some_frames(source: Path) -> list[Image]:
    """Returns frames at one, three and five sixths of a video; none if it cannot be read."""
    from peclip.video.reader import open_video

    try:
        with open_video(source, decoder="pyav", num_threads=1) as reader:
            length = len(reader)
            indices = sorted({length * (2 * part + 1) // (2 * _FRAMES) for part in range(_FRAMES)})
            return list(reader.read(indices).data)
    except VideoError:  # the check of files has reported it
        return []
