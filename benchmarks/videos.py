"""Synthetic videos for the benchmarks, made from the portrait in examples/."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

PORTRAIT = Path(__file__).parents[1] / "examples" / "astronaut.mp4"


def portrait(path: Path = PORTRAIT) -> list[Image]:
    """Returns the frames of the portrait or another video, RGB (H, W, 3)."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def repeat(frames: list[Image], count: int) -> Iterator[Image]:
    """Yields `count` frames by looping over the given ones."""
    for number in range(count):
        yield frames[number % len(frames)]


def crowd(
    count: int, people: int, width: int, height: int, clips: Sequence[Path] = (PORTRAIT,)
) -> Iterator[Image]:
    """Yields frames (H, W, 3) in which people move a little, each in their own cell of a grid.

    The people are those of some videos in turn, which are repeated.
    """
    columns = math.ceil(math.sqrt(people * width / height))
    rows = math.ceil(people / columns)
    cell = min(width // columns, height // rows)
    side = round(0.9 * cell)
    shown = []
    for clip in clips:
        frames = portrait(clip)
        size = side, round(side * frames[0].shape[0] / frames[0].shape[1])
        shown.append([cv2.resize(frame, size)[:side] for frame in frames])
    for number in range(count):
        picture = np.full((height, width, 3), 96, np.uint8)
        for person in range(people):
            small = shown[person % len(shown)]
            face = small[(number + 7 * person) % len(small)]
            room = cell - side
            x = round(room * (1 + math.sin(number / 20 + person)) / 2) + person % columns * cell
            y = round(room * (1 + math.cos(number / 25 + person)) / 2) + person // columns * cell
            picture[y : y + face.shape[0], x : x + side] = face
        yield picture


def write_video(target: Path, frames: Iterable[Image], rate: int) -> None:
    """Writes frames of equal size as H.264."""
    options = {"preset": "ultrafast", "crf": "30"}
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        for number, image in enumerate(frames):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
