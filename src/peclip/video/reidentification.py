"""Recognises people by appearance when they return and after cuts.

Positions do not identify a person who was out of view, so crops are compared. No neural network is involved: a
view of a person consists of the face's gradients and the colours of hair, face and shoulders, which are stable
within a video and need not be stable between videos. A wrong merge is worse than a split, because
a split can be repaired in the rows. The thresholds are explained in docs/windows.md.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from peclip.video.faces import FaceBox, Image, crop_face

View = NDArray[np.float32]
"""The appearance of a face in one frame, (1312,), of length 1: the cosine of two views is their similarity."""

SAME_PERSON = 0.9
"""Minimum similarity at which two views show the same person, at any position in the frame."""

SAME_PLACE = 0.85
"""Minimum similarity at which a face at the same position after a cut is the same person."""

_CUT = 20.0
"""Mean absolute difference of two thumbnails, in grey levels. In the shared clips, frames 0.1 s apart differ by at most
12, and the first frames of two clips by 19.9 or more."""

_SAMPLED = 512, 256
"""Maximum columns and rows of a frame that are averaged to a thumbnail: few, for speed, but with 64 rows, text or
stripes whose lines are as far apart as these rows would look like a cut whenever they move."""

_MAX_VIEWS = 8
_MAX_PEOPLE = 64
_VIEW_INTERVAL = 0.5
"""Seconds between two stored views of a person."""
_NEW_VIEW = 0.97
"""Views more similar than this are stored only once."""

_FACE, _CELL, _DIRECTIONS = 48, 8, 8
_COLOURS = 32
_STEPS = 8
"""Histogram bins for lightness and both colour axes."""


def view(image: Image, face: FaceBox) -> View:
    """Returns a face's appearance, with equal weights for gradients and colours.

    Args:
        image: RGB, (H, W, 3).
        face: the face in the image.
    """
    shape = _gradients(crop_face(image, face, size=_FACE, margin=0.6))
    head = crop_face(image, face, size=_COLOURS, margin=1.2, align=False)
    body = crop_face(image, face, size=_COLOURS, margin=0.6, shift=1.2, align=False)
    parts = (math.sqrt(0.5) * shape, 0.5 * _colours(head), 0.5 * _colours(body))
    return np.concatenate(parts).astype(np.float32)


def _gradients(crop: Image) -> NDArray[np.float32]:
    """Returns a histogram of gradient directions per cell, of length 1 (Dalal and Triggs, 2005)."""
    grey = np.sqrt(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32))
    across, down = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    strength, angle = cv2.cartToPolar(across, down)
    cells = _FACE // _CELL
    y, x = np.mgrid[:_FACE, :_FACE] // _CELL
    place = (angle * (_DIRECTIONS / math.tau)).ravel()
    lower = np.floor(place)
    share, strengths = place - lower, strength.ravel()
    first = ((y * cells + x) * _DIRECTIONS).ravel()
    bins = np.concatenate([first + (lower + k).astype(int) % _DIRECTIONS for k in (0, 1)])
    weights = np.concatenate([strengths * (1 - share), strengths * share])
    histogram = np.bincount(bins, weights, cells * cells * _DIRECTIONS)
    histogram = histogram.reshape(cells, cells, _DIRECTIONS).astype(np.float32)
    contrast = cv2.blur(np.linalg.norm(histogram, axis=-1), (3, 3)) + 1e-3
    return _unit(np.minimum(histogram / contrast[..., None], 0.6).ravel())


def _colours(crop: Image) -> NDArray[np.float32]:
    """Returns the root of a histogram in Lab, of length 1; fine near grey, where skin and clothes are."""
    lab = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(int)
    light = lab[:, 0] * _STEPS // 256
    a, b = (np.clip((lab[:, axis] - 128) // 8 + _STEPS // 2, 0, _STEPS - 1) for axis in (1, 2))
    histogram = np.bincount((light * _STEPS + a) * _STEPS + b, minlength=_STEPS**3)
    return np.sqrt(histogram / len(lab)).astype(np.float32)


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


class Appearance:
    """A few different views of one person."""

    def __init__(self) -> None:
        self._views: list[NDArray[np.float16]] = []  # 2.6 KB each
        self._last = -math.inf

    def add(self, image: Image, face: FaceBox, time: float) -> None:
        """Adds the view from a frame, unless one was added just before."""
        if time < self._last + _VIEW_INTERVAL:
            return
        self._last = time
        now = view(image, face)
        if not self._views:
            self._views.append(now.astype(np.float16))
            return
        similar = self._compare(now)
        nearest = int(similar.argmax())
        if len(self._views) == _MAX_VIEWS or similar[nearest] > _NEW_VIEW:
            self._views.pop(nearest)  # the newer view is the more useful one
        self._views.append(now.astype(np.float16))

    def similarity(self, now: View) -> float:
        """Returns the similarity to the most similar view, or 0 if there are none."""
        return float(self._compare(now).max()) if self._views else 0.0

    def _compare(self, now: View) -> NDArray[np.float32]:
        return np.stack(self._views).astype(np.float32) @ now


class People:
    """The people out of view, up to the 64 seen most recently."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[Appearance, float]] = OrderedDict()

    def remember(self, track_id: int, appearance: Appearance, time: float) -> None:
        """Stores a person last seen at a given time."""
        self._known[track_id] = (appearance, time)
        while len(self._known) > _MAX_PEOPLE:
            self._known.popitem(last=False)

    def seen_before(self, time: float) -> dict[int, Appearance]:
        """Returns the people last seen before a given time."""
        return {name: person for name, (person, seen) in self._known.items() if seen < time}

    def forget(self, track_id: int) -> None:
        """Removes a person who is in view again, if stored."""
        self._known.pop(track_id, None)


def recognise(
    views: Mapping[int, View], candidates: Mapping[int, Mapping[int, Appearance]]
) -> dict[int, int]:
    """Finds which people the faces in a frame show.

    Args:
        views: face → its appearance.
        candidates: face → the people it may show, by id.

    Returns:
        Face → id, excluding faces of unknown people. Each person is assigned at most once.
    """
    pairs = sorted(
        (
            (person.similarity(now), face, name)
            for face, now in views.items()
            for name, person in candidates[face].items()
        ),
        reverse=True,
    )
    chosen: dict[int, int] = {}
    for similarity, face, name in pairs:
        if similarity < SAME_PERSON:
            break
        if face not in chosen and name not in chosen.values():
            chosen[face] = name
    return chosen


class CutFinder:
    """Finds the frames in which a new shot begins, from thumbnails of consecutive frames."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def is_cut(self, image: Image) -> bool:
        """Returns whether a frame belongs to a different shot from the previous frame."""
        height, width = image.shape[:2]
        size = min(width, _SAMPLED[0]), min(height, _SAMPLED[1])
        sampled = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
        small = cv2.resize(sampled, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, small
        return last is not None and float(np.abs(small - last).mean()) >= _CUT
