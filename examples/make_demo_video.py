"""Makes `examples/astronaut.mp4`: a slow camera movement over NASA's portrait of Eileen Collins.

    python examples/make_demo_video.py

The portrait is in the public domain and comes with scikit-image (`skimage.data.astronaut`). The repository
already contains the video; this script documents how it was made.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from skimage import data

WIDTH, HEIGHT, RATE, SECONDS = 320, 240, 24, 3


def view(portrait: np.ndarray, share: float) -> np.ndarray:
    """Returns the image at a fraction of the video, 0 to 1: the camera zooms in, sways and tilts a little."""
    zoom = 0.95 + 0.25 * share
    center = (225 + 12 * math.sin(2 * math.pi * share), 140 + 6 * math.cos(2 * math.pi * share))
    matrix = cv2.getRotationMatrix2D(center, 4 * math.sin(2 * math.pi * share), zoom)
    matrix[:, 2] += np.array([WIDTH / 2, HEIGHT / 2]) - center
    return cv2.warpAffine(
        portrait, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def main(path: Path) -> None:
    portrait = data.astronaut()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "24"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        count = RATE * SECONDS
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(view(portrait, number / (count - 1)), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("astronaut.mp4")))
