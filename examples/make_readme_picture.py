"""Makes `docs/astronaut.png`, the picture of the README: a frame of the overlay above the timeline.

    python examples/make_readme_picture.py [OUTPUT]

It uses `examples/astronaut.mp4` (NASA, public domain), the embedded model and the Haar face detector, so it works
offline. Requires the extra `plot`.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from peclip import PEClip, PredictOptions
from peclip.results.prediction import Prediction
from peclip.video.reader import open_video

VIDEO = Path(__file__).with_name("astronaut.mp4")
OUTPUT = Path(__file__).parents[1] / "docs" / "astronaut.png"
FRAME = 36
WIDTH, STILL_WIDTH = 1500, 640
"""Pixels."""


def overlay_still(prediction: Prediction) -> np.ndarray:
    """Returns one frame of the overlay, (H, W, 3), RGB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "overlay.mp4"
        prediction.render(path)
        with open_video(path) as reader:
            return reader.read([FRAME]).data[0]


def timeline(prediction: Prediction) -> np.ndarray:
    """Returns the timeline, (H, W, 3), RGB."""
    stream = io.BytesIO()
    prediction.plot().savefig(stream, format="png", dpi=150)
    return cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def centred(image: np.ndarray, width: int) -> np.ndarray:
    """Returns a picture on a white ground of a width."""
    left = (width - image.shape[1]) // 2
    sides = ((0, 0), (left, width - image.shape[1] - left), (0, 0))
    return np.pad(image, sides, constant_values=255)


def main(path: Path) -> None:
    options = PredictOptions(detector="haar")
    prediction = PEClip.from_pretrained(device="cpu").predict(VIDEO, options)
    still = overlay_still(prediction)
    height = round(still.shape[0] * STILL_WIDTH / still.shape[1])
    still = cv2.resize(still, (STILL_WIDTH, height), interpolation=cv2.INTER_CUBIC)
    picture = np.concatenate([centred(still, WIDTH), centred(timeline(prediction), WIDTH)])
    cv2.imwrite(str(path), picture[..., ::-1])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT)
