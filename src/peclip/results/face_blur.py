"""Makes faces unrecognisable in a video, also in the frames around those in which they were detected."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from peclip.video.face_log import LoggedFace, LoggedFrame
from peclip.video.faces import FaceBox, Image
from peclip.video.tracking import interpolate

BRIDGED_S = 1.0
"""Between two sightings of a face that are closer, it is blurred at the interpolated place."""

HELD_S = 0.5
"""Before the first and after the last sighting, a face is blurred at the same place for this long."""

_MARGIN = 0.5
"""Added to the box, as a fraction of its sides: a face is recognised by its outline, too."""

_BLOCKS = 6
"""Of a face, along its longer side: too few to recognise anybody."""


def blur_faces(image: Image, boxes: Iterable[FaceBox]) -> None:
    """Blurs ellipses around faces in place; what is left has the detail of 6 blocks along a side.

    Args:
        image: RGB, (H, W, 3), contiguous.
        boxes: in pixels of the image.
    """
    height, width = image.shape[:2]
    for box in boxes:
        (x, y), (w, h) = box.center, ((1 + _MARGIN) * box.width, (1 + _MARGIN) * box.height)
        left, right = max(0, int(x - w / 2)), min(width, int(x + w / 2) + 1)
        top, bottom = max(0, int(y - h / 2)), min(height, int(y + h / 2) + 1)
        if left >= right or top >= bottom:
            continue
        region = image[top:bottom, left:right]
        rows, columns = region.shape[:2]
        block = max(1.0, max(w, h) / (_BLOCKS * (1 + _MARGIN)))
        size = max(1, round(columns / block)), max(1, round(rows / block))
        blocks = cv2.resize(region, size, interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(blocks, (columns, rows), interpolation=cv2.INTER_LINEAR)
        mask = np.zeros((rows, columns), np.uint8)
        centre = (round(x - left), round(y - top))
        cv2.ellipse(mask, centre, (round(w / 2), round(h / 2)), 0, 0, 360, [255], cv2.FILLED)
        region[mask > 0] = smooth[mask > 0]


def bridged(frames: Iterable[LoggedFrame]) -> Iterator[dict[int, LoggedFace]]:
    """Yields the faces to blur in each frame by track: also where the detector missed one for a moment.

    A frame is given when those of the next `BRIDGED_S` seconds are known.
    """
    ahead = deque[LoggedFrame]()
    before: dict[int, tuple[float, LoggedFace]] = {}
    for frame in frames:
        ahead.append(frame)
        while ahead[-1].time - ahead[0].time > BRIDGED_S:
            yield _around(ahead, before)
    while ahead:
        yield _around(ahead, before)


def _around(
    ahead: deque[LoggedFrame], before: dict[int, tuple[float, LoggedFace]]
) -> dict[int, LoggedFace]:
    """Returns the faces of the first frame, and removes it."""
    frame = ahead.popleft()
    faces = {face.track: face for face in frame.faces}
    after: dict[int, tuple[float, LoggedFace]] = {}
    for later in ahead:
        for face in later.faces:
            after.setdefault(face.track, (later.time, face))
    for track in (before.keys() | after.keys()) - faces.keys():
        near = _between(frame.time, before.get(track), after.get(track))
        if near is not None:
            faces[track] = near
    for face in frame.faces:
        before[face.track] = frame.time, face
    for track in [name for name, (time, _) in before.items() if frame.time - time > BRIDGED_S]:
        del before[track]
    return faces


def _between(
    time: float, before: tuple[float, LoggedFace] | None, after: tuple[float, LoggedFace] | None
) -> LoggedFace | None:
    if before is not None and after is not None and after[0] - before[0] <= BRIDGED_S:
        part = (time - before[0]) / (after[0] - before[0])
        box = interpolate(before[1].box, after[1].box, part)
        return LoggedFace(before[1].track, before[1].track_id, box)
    if before is not None and time - before[0] <= HELD_S:
        return before[1]
    if after is not None and after[0] - time <= HELD_S:
        return after[1]
    return None
