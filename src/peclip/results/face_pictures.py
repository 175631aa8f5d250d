"""Pictures of people, cut out of their video."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from peclip.errors import UserError
from peclip.results.interface import SourceResult
from peclip.results.rows import Row
from peclip.video.faces import FaceBox, Image, crop_face, resize_frame
from peclip.video.frames import Frames, TensorLike
from peclip.video.reader import open_video
from peclip.video.sources import is_address

Video = str | Path | NDArray[np.uint8] | TensorLike | Frames
"""Where the frames are, if not in the file that a prediction names."""

K = TypeVar("K", bound=Hashable)

_MARGIN = 0.6
"""Around a face, as part of its longer side."""
_AT_ONCE = 4
"""Frames that are in memory at a time."""

log = logging.getLogger(__name__)


def portraits(
    prediction: SourceResult, *, video: Video | None = None, size: int = 96
) -> dict[int, Image]:
    """Returns a picture of each person, from the window that shows the face best.

    Args:
        prediction: the source.
        video: its frames; by default those of the file that it names.
        size: side of the pictures in pixels.

    Returns:
        RGB, (size, size, 3), by id; empty if the video is unavailable.
    """
    best = {
        track.track_id: max(track.rows, key=_visibility) for track in prediction.tracks.values()
    }
    return dict(pictures_of(prediction, list(best.items()), video=video, size=size))


def pictures_of(
    prediction: SourceResult,
    rows: Sequence[tuple[K, Row]],
    *,
    video: Video | None = None,
    size: int = 160,
) -> dict[K, Image]:
    """Returns the face in the middle of each window, by the keys of the windows.

    Empty if the video is unavailable: it is remote, live or was moved, or has other frames now.
    """
    source = video if video is not None else _file(prediction)
    if source is None or not rows:
        return {}
    frames = {key: (row.start_frame + row.end_frame) // 2 for key, row in rows}
    found = dict[K, Image]()
    try:
        # PyAV needs no torch, and reads the same frames as any other decoder.
        with open_video(source, decoder="pyav") as reader:
            for group in _groups(sorted(set(frames.values()))):
                images = dict(zip(group, reader.read(group).data, strict=True))
                for key, row in rows:
                    if (image := images.get(frames[key])) is not None:
                        found[key] = _cut(image, row, size)
    except (UserError, IndexError) as error:
        log.debug("%s: no pictures of people: %s", prediction.source, error)
        return {}
    return found


def _file(prediction: SourceResult) -> Path | None:
    """Returns the local file or folder of a source, if it has one."""
    name = prediction.source
    if is_address(name) or not name or name.isdecimal():  # a URL, or the index of a webcam
        return None
    try:
        return Path(name) if Path(name).exists() else None
    except OSError:
        return None


def _groups(frames: Sequence[int]) -> Iterable[Sequence[int]]:
    return (frames[start : start + _AT_ONCE] for start in range(0, len(frames), _AT_ONCE))


def _cut(image: Image, row: Row, size: int) -> Image:
    if row.box is None or row.track_id < 0:
        return resize_frame(image, size)
    return crop_face(image, FaceBox(*row.box, 1.0), size=size, margin=_MARGIN, align=False)


def _visibility(row: Row) -> tuple[bool, float, float]:
    area = row.box[2] * row.box[3] if row.box else 0.0
    return row.status == "ok", row.face_coverage * (row.face_conf or 0.0), area
