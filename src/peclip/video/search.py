"""Chooses where and at which size faces are detected: small faces require large frames, which take longer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from peclip.video.changes import Changes
from peclip.video.detectors.detector import MAX_SIDE, FaceDetector
from peclip.video.faces import FaceBox, Image
from peclip.video.regions import Region, aligned, around, union, whole
from peclip.video.tracking import affinity, iou

SMALLEST = 18.0
"""Face size in the scaled frame, in pixels, at which YuNet detects 95 % of faces; at 12 pixels, it detects half."""

LIMIT = 5760
"""Maximum side of a scaled frame, which bounds the memory; three quarters of 8K."""

_LARGEST = 640
"""Faces up to this size in the scaled frame are detected."""
_SAFE = 24.0
"""A face of at least this size in the scaled frame is almost always detected again."""
_STEP = 160
"""Sizes are multiples of this many pixels, because the detector takes time to set up for each new size."""
_PERIOD = 0.5
"""Seconds between two detections in the whole frame at the full size, in which new faces are found."""
_SMALL_FRAME = 40_000
"""Scaled pixels below which a whole frame takes hardly longer than the regions around faces."""
_WHOLE_PERIOD = 5.0
"""Seconds in which what has not changed is left out of the whole frame: nothing was found there."""
_ROOM = 32
"""Scaled pixels around what has changed, which may be a part of a face."""
_WORTH = 0.85
"""Cost of a part of a frame, relative to the whole frame, from which on the whole frame is searched."""
_LOST = 1.0
"""Seconds in which a face that was not found again is looked for where it was."""
_SAME_FACE = 0.3
"""Minimum overlap at which two boxes show the same face."""


def full_side(longer: int, *, detect_size: int | None, min_face: float) -> int:
    """Returns the longer side in pixels to which a frame is scaled to detect its smallest faces.

    Args:
        longer: the longer side of the frame.
        detect_size: the size chosen by the user; with `None`, faces of `min_face` pixels are detected.
        min_face: smallest face size, in pixels of the original frame.
    """
    if detect_size is not None:
        return min(longer, detect_size)
    scale = min(1.0, SMALLEST / max(min_face, SMALLEST))
    return min(longer, max(MAX_SIDE, min(math.ceil(scale * longer), LIMIT)))


def smallest_face(longer: int, *, detect_size: int | None, min_face: float) -> int:
    """Returns the size of the smallest faces that are detected, in pixels of the original frame; see `full_side`."""
    side = full_side(longer, detect_size=detect_size, min_face=min_face)
    return math.ceil(SMALLEST * longer / side)


class FaceSearch:
    """Detects faces in the frames of a video: in the whole frame at the full size every half second and after a cut.

    In between, only the faces found last are detected, in the regions around them or, if that is faster, in the whole
    frame, and at a smaller size if they are large enough for it. The boxes are those of a detection in the whole frame
    at that size. If a face is missing, detection is repeated in the whole frame at the full size, and the face is
    looked for in its region for another second.

    Args:
        detector: finds faces.
        detect_size: see `full_side`.
        min_face: see `full_side`.
        everywhere: detect faces in every whole frame at the full size.
    """

    def __init__(
        self,
        detector: FaceDetector,
        *,
        detect_size: int | None = None,
        min_face: float = 24.0,
        everywhere: bool = False,
    ) -> None:
        self._detector = detector
        self._detect_size, self._min_face = detect_size, min_face
        self._everywhere = everywhere
        self._changes = Changes()
        self._last_whole = -math.inf
        self._last_full = -math.inf
        self._known: list[FaceBox] = []
        self._lost: list[tuple[float, FaceBox]] = []  # each with the time at which it was missing

    def find(self, image: Image, time: float, *, is_cut: bool = False) -> list[FaceBox]:
        """Returns the faces in the frame at a time in seconds, in order of decreasing confidence.

        `is_cut` states whether a new shot begins with this frame.
        """
        full = self._full_side(image)
        if not (is_cut or self.is_due(image, time)):
            self._lost = [(since, face) for since, face in self._lost if time <= since + _LOST]
            found = self._again(image, full)
            if found is not None:
                self._known = found
                return found
        self._last_full = time
        found = self._at_full(image, full, time)
        missing = [face for face in self._known if not _is_among(face, found)]
        self._lost = [(since, face) for since, face in self._lost if not _is_among(face, found)]
        self._lost += [(time, face) for face in missing]
        self._known = found
        return found

    def is_due(self, image: Image, time: float) -> bool:
        """Returns whether the whole frame must be searched at a time in seconds, for new faces, or may well be."""
        full = self._full_side(image)
        is_small = whole(image, full).cost < _SMALL_FRAME
        return self._everywhere or is_small or time >= self._last_full + _PERIOD - 1e-6

    def locate(
        self, image: Image, places: Sequence[tuple[int, FaceBox]], others: Sequence[FaceBox]
    ) -> dict[int, FaceBox]:
        """Returns who is in a frame at one of their places in nearby frames, each with an id, beside the others."""
        full = self._full_side(image)
        found: dict[int, FaceBox] = {}
        for name, face in places:
            if name in found:
                continue
            same = self._near(image, face, full)
            if same is not None and not _is_among(same, [*others, *found.values()]):
                found[name] = same
        return found

    def _again(self, image: Image, full: int) -> list[FaceBox] | None:
        """Returns the known faces, and lost ones that are back; `None` if a known one is missing."""
        side = self._smaller(image, full, self._known)
        regions = [self._region(image, face, side) for face in self._known]
        if regions and sum(region.cost for region in regions) >= whole(image, side).cost:
            found = self._at(image, side) if side < full else []
            return found if len(found) >= len(self._known) else None
        found = []
        for face, region in zip(self._known, regions, strict=True):
            same = self._same(image, face, region)
            if same is None or _is_among(same, found):
                return None
            found.append(same)
        for _, face in self._lost:
            same = self._near(image, face, full)
            if same is not None and not _is_among(same, found):
                found.append(same)
        return sorted(found, key=lambda face: -face.score)

    def _near(self, image: Image, face: FaceBox, full: int) -> FaceBox | None:
        """Returns a face that is looked for by itself, around where it was in another frame."""
        side = self._smaller(image, full, [face])
        return self._same(image, face, self._region(image, face, side))

    def _same(self, image: Image, face: FaceBox, region: Region) -> FaceBox | None:
        """Returns the face of a region that fits an earlier one best, if any does."""
        near = region.detect(self._detector, image)
        best = max(near, key=lambda one: affinity(face, one), default=None)
        return best if best is not None and affinity(face, best) > 0 else None

    def _region(self, image: Image, face: FaceBox, side: int) -> Region:
        longer = max(image.shape[:2])
        if face.side * side / longer > _LARGEST / 2:  # found at a small size more safely
            side = min(side, MAX_SIDE)
        return around(image, face, min(1.0, side / longer))

    def _smaller(self, image: Image, full: int, faces: list[FaceBox]) -> int:
        """Returns the smallest size at which some faces are found, at most the full one."""
        smallest = min((face.side for face in faces), default=math.inf)
        wanted: float = max(_SAFE * max(image.shape[:2]) / smallest, MAX_SIDE)
        return min(full, math.ceil(wanted / _STEP) * _STEP)

    def _at_full(self, image: Image, full: int, time: float) -> list[FaceBox]:
        part = None
        if not self._everywhere and full > MAX_SIDE:  # otherwise, the whole image takes little time
            part = self._changed(image, full, time)
        found = self._at(image, full) if part is None else part.detect(self._detector, image)
        fits = full / max(image.shape[:2]) * min(image.shape[:2]) <= _LARGEST
        if full <= MAX_SIDE or (found and fits):
            return found
        # A face that fills the frame is too large for the detector at this size, and a blurred one may be found at a
        # small size only.
        coarse = self._at(image, MAX_SIDE)
        more = [face for face in coarse if not _is_among(face, found)]
        return sorted([*found, *more], key=lambda face: -face.score)

    def _changed(self, image: Image, full: int, time: float) -> Region | None:
        """Returns the region with all that has changed and all known faces; `None` for the whole image."""
        rectangle, everything = self._changes.rectangle(image, time), whole(image, full)
        if time < self._last_whole + _WHOLE_PERIOD:
            faces = [*self._known, *(face for _, face in self._lost)]
            parts = [around(image, face, everything.scale) for face in faces]
            if rectangle is not None:
                left, top, right, bottom = rectangle
                room = _ROOM / everything.scale
                sides = left - room, top - room, right + room, bottom + room
                parts.append(aligned(image, *sides, everything.scale))
            part = union(parts or [aligned(image, 0, 0, 0, 0, everything.scale)])
            if part.cost < _WORTH * everything.cost:
                return part
        self._last_whole = time
        return None

    def _full_side(self, image: Image) -> int:
        return full_side(
            max(image.shape[:2]), detect_size=self._detect_size, min_face=self._min_face
        )

    def _at(self, image: Image, side: int) -> list[FaceBox]:
        if min(side, max(image.shape[:2])) == min(MAX_SIDE, max(image.shape[:2])):
            return self._detector.detect(image)
        return self._detector.detect(image, max_side=side)


def _is_among(face: FaceBox, others: Sequence[FaceBox]) -> bool:
    return any(iou(face, other) >= _SAME_FACE for other in others)
