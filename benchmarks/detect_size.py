"""Compares the cost of the default search for small faces with a search at 640 pixels.

    python benchmarks/detect_size.py VIDEO

The first frame of the video with a face is scaled and placed in frames of three resolutions, so that the
face has 28 pixels, or a quarter of the height. Each case is one second at 10 detections; both sizes run in turn,
and CPU time is counted.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np

from peclip.settings import load_settings
from peclip.video.detectors.detector import FaceDetector
from peclip.video.detectors.registry import load_detector
from peclip.video.faces import Image
from peclip.video.reader import open_video
from peclip.video.search import FaceSearch

RESOLUTIONS = ((1280, 720), (1920, 1080), (3840, 2160))


def placed(image: Image, face: float, width: int, height: int, pixels: float) -> Image:
    """Returns a grey frame with the picture at the size at which its face has some pixels."""
    scale = min(pixels / face, height / image.shape[0])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=method)
    frame = np.full((height, width, 3), 110, np.uint8)
    frame[: len(small), : small.shape[1]] = small
    return frame


def cost(detector: FaceDetector, frame: Image, detect_size: int | None) -> tuple[float, int]:
    """Returns CPU seconds per second of video, and the number of detections that found the face."""
    search = FaceSearch(detector, detect_size=detect_size)
    start = time.process_time()
    found = sum(len(search.find(frame, look / 10)) > 0 for look in range(10))
    return time.process_time() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    detector = load_detector("yunet", settings=load_settings())
    with open_video(arguments.video) as reader:
        image = reader.read([0]).data[0]
    side = detector.detect(image)[0].side
    for width, height in RESOLUTIONS:
        for pixels in (28, height / 4):
            frame = placed(image, side, width, height, pixels)
            runs = [
                (cost(detector, frame, None), cost(detector, frame, 640))
                for _ in range(arguments.repeat)
            ]
            (ours, found), (small, missed) = (min(run[side] for run in runs) for side in (0, 1))
            print(
                f"{width}x{height}, face of {pixels:.0f} pixels: default {ours:.2f} s "
                f"({found} of 10 found), 640 pixels {small:.2f} s ({missed} of 10 found), "
                f"ratio {ours / small:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
