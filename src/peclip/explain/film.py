"""The explanation as a video: the frames one after another with their maps, above bars that mark the current frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from peclip.errors import ConfigError
from peclip.explain.explanation import Explanation, Finding
from peclip.explain.heat import Image, paint, strongest
from peclip.files import replacing
from peclip.results.face_tags import written
from peclip.results.figures import OPPOSES, SUPPORTS, UNDIRECTED
from peclip.video.writers.video_file import VideoFile

FRAME_S = 0.5
"""How long each frame is shown: windows are short."""

_SIDE, _BARS, _HEAD, _NAME = 384, 72, 48, 24
"""Pixels: of a frame, and the heights of the bars, of the lines above the frames and of the one above the bars."""
_INK, _PAPER, _MARK = (28, 28, 28), 255, 225


def save_film(explanation: Explanation, path: Path) -> None:
    """Writes a `.mp4` file in slow motion: for each method with a map a column, and below it bars over the frames.

    The bars are those of the first method that ranks frames.

    Raises:
        ConfigError: no method of the explanation has maps or ranks frames, or the file cannot be written.
    """
    found = explanation.findings.values()
    maps = [finding for finding in found if finding.maps is not None]
    ranking = next((finding for finding in found if finding.frames is not None), None)
    if not maps and ranking is None:
        raise ConfigError(
            "A video shows frames and maps, but none of the chosen methods has any. Add --method leave-one-out or "
            "--method rollout, or write a .png or .json file."
        )
    height, width = draw_frame(explanation, maps, ranking, 0).shape[:2]
    with (
        replacing(path) as partial,
        VideoFile(partial, (width, height), frame_rate=1 / FRAME_S) as video,
    ):
        for place in range(len(explanation.crops)):
            image = draw_frame(explanation, maps, ranking, place)
            video.write(image, place * FRAME_S, FRAME_S)


def draw_frame(
    explanation: Explanation, maps: Sequence[Finding], ranking: Finding | None, place: int
) -> Image:
    """Returns one frame, uint8 (H, W, 3): the crop, the crop under each map, and the bars below.

    Args:
        explanation: has the crops.
        maps: findings with maps.
        ranking: a finding that ranks frames.
        place: of the frame.
    """
    crop = explanation.crops[place]
    number = 1 + list(explanation.scores).index(explanation.label)
    label = f"{written(explanation.label, number)} {explanation.scores[explanation.label]:.2f}"
    parts = [_column(crop, label, f"{explanation.times_s[place]:.2f} s")]
    for finding in maps:
        assert finding.maps is not None, "see `save_film`"
        values = finding.maps[min(place, len(finding.maps) - 1)]
        scale = strongest(finding.maps)
        picture = paint(crop, values, scale, is_directed=finding.is_directed)
        meaning = "orange supports, blue opposes" if finding.is_directed else "has no direction"
        parts.append(_column(picture, finding.method, meaning))
    row = np.concatenate(parts, axis=1)
    if ranking is None:
        return row
    name = np.full((_NAME, row.shape[1], 3), _PAPER, np.uint8)
    _write(name, f"{ranking.method}: {ranking.unit}", 16)
    return np.concatenate([row, name, _draw_bars(ranking, place, row.shape[1])])


def _column(picture: Image, first: str, second: str) -> Image:
    """Returns a picture below two lines of text."""
    head = np.full((_HEAD, _SIDE, 3), _PAPER, np.uint8)
    _write(head, first, 18)
    _write(head, second, 39)
    size = (_SIDE, _SIDE)
    enlarged = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    return np.concatenate([head, np.asarray(enlarged, np.uint8)])


def _write(image: Image, text: str, bottom: int) -> None:
    """Writes a line of ASCII, as large as the width allows."""
    font, room = cv2.FONT_HERSHEY_SIMPLEX, image.shape[1] - 16
    (width, _), _ = cv2.getTextSize(text, font, 0.5, 1)
    scale = 0.5 * min(1.0, room / max(width, 1))
    cv2.putText(image, text, (8, bottom), font, scale, _INK, 1, cv2.LINE_AA)


def _draw_bars(ranking: Finding, place: int, width: int) -> Image:
    """Returns a strip with a bar per frame, of which the current one has a mark."""
    values = ranking.frames
    assert values is not None, "see `save_film`"
    above = SUPPORTS if ranking.is_directed else UNDIRECTED
    strip = np.full((_BARS, width, 3), _PAPER, np.uint8)
    largest = strongest(values) or 1.0
    low, high = min(values.min(), 0.0) / largest, max(values.max(), 0.0) / largest
    step, unit = width / len(values), (_BARS - 12) / max(high - low, 1e-9)
    zero = round(6 + high * unit)
    for number, value in enumerate(values):
        left, right = round((number + 0.15) * step), round((number + 0.85) * step)
        if number == place:
            strip[:, round(number * step) : round((number + 1) * step)] = _MARK
        end = round(zero - value / largest * unit)
        colour = above if value > 0 else OPPOSES
        strip[min(zero, end) : max(zero, end), left:right] = list(bytes.fromhex(colour[1:]))
    strip[zero] = 128
    return strip
