"""The explanation as a video: the frames one after another with their maps, above bars that mark the current frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from peclip.errors import ConfigError
from peclip.explain.explanation import Array, Explanation
from peclip.explain.heat import Image, paint, strongest
from peclip.files import replacing
from peclip.results.figures import OPPOSES, SUPPORTS
from peclip.video.writers.video_file import VideoFile

FRAME_S = 0.5
"""How long each frame is shown: windows are short."""

_SIDE, _BARS = 384, 72
"""Pixels: of a frame, and the height of the bars."""


def save_film(explanation: Explanation, path: Path) -> None:
    """Writes a `.mp4` file in slow motion: for each method with a map a column, and below it bars over the frames.

    The bars are those of the first method that ranks frames.

    Raises:
        ConfigError: no method of the explanation has maps or ranks frames, or the file cannot be written.
    """
    found = explanation.findings.values()
    maps = [(f.maps, f.is_directed) for f in found if f.maps is not None]
    ranks = next((f.frames for f in found if f.frames is not None), None)
    if not maps and ranks is None:
        raise ConfigError(
            "A video shows frames and maps, but none of the chosen methods has any. Add --method leave-one-out or "
            "--method rollout, or write a .png or .json file."
        )
    columns = 1 + len(maps)
    size = columns * _SIDE, _SIDE + (0 if ranks is None else _BARS)
    with (
        replacing(path) as partial,
        VideoFile(partial, size, frame_rate=1 / FRAME_S) as video,
    ):
        for place in range(len(explanation.crops)):
            image = draw_frame(explanation, maps, ranks, place)
            video.write(image, place * FRAME_S, FRAME_S)


def draw_frame(
    explanation: Explanation, maps: list[tuple[Array, bool]], ranks: Array | None, place: int
) -> Image:
    """Returns one frame, uint8 (H, W, 3): the crop, the crop under each map, and the bars below.

    Args:
        explanation: has the crops.
        maps: (T or 1, G, G) each, and whether their values have a direction.
        ranks: importance of the frames, (T,).
        place: of the frame.
    """
    crop = explanation.crops[place]
    pictures = [crop]
    pictures += [
        paint(crop, m[min(place, len(m) - 1)], strongest(m), is_directed=directed)
        for m, directed in maps
    ]
    enlarged = [
        np.asarray(cv2.resize(p, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
        for p in pictures
    ]
    row = np.concatenate(enlarged, axis=1)
    if ranks is None:
        return row
    return np.concatenate([row, _draw_bars(ranks, place, row.shape[1])])


def _draw_bars(values: Array, place: int, width: int) -> Image:
    """Returns a strip with a bar per frame, of which the current one has a mark."""
    strip = np.full((_BARS, width, 3), 255, np.uint8)
    largest = strongest(values) or 1.0
    low, high = min(values.min(), 0.0) / largest, max(values.max(), 0.0) / largest
    step, unit = width / len(values), (_BARS - 12) / max(high - low, 1e-9)
    zero = round(6 + high * unit)
    for number, value in enumerate(values):
        left, right = round((number + 0.15) * step), round((number + 0.85) * step)
        if number == place:
            strip[:, round(number * step) : round((number + 1) * step)] = 225
        end = round(zero - value / largest * unit)
        colour = SUPPORTS if value > 0 else OPPOSES
        strip[min(zero, end) : max(zero, end), left:right] = list(bytes.fromhex(colour[1:]))
    strip[zero] = 128
    return strip
