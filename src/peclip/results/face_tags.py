"""Draws boxes, ids, labels and probabilities on a frame."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2

from peclip.results.figures import colour_of_person, label_colours
from peclip.results.rows import Row
from peclip.text.display import shortened
from peclip.video.faces import FaceBox, Image
from peclip.video.sighting import WHOLE_FRAME

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAP_HEIGHT = 21
"""Pixels of a capital letter of the font at scale 1."""

_SHOWN = 3
"""Labels with a bar, the most probable first."""

_WHITE, _BLACK, _GROUND, _FAINT = (255, 255, 255), (0, 0, 0), (28, 28, 28), (170, 170, 170)
_SHADE = 0.35
"""Brightness that is left of the picture behind bars."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A person in a frame, and the row that says what to write."""

    track_id: int
    box: FaceBox
    row: Row | None


class _Area(NamedTuple):
    left: int
    top: int
    right: int
    bottom: int

    def overlaps(self, other: _Area) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class TagPainter:
    """Draws tags on the frames of one video.

    Text is as high as 1/40 of the frame's shorter side, and at least 8 pixels.

    Args:
        labels: of the model. Those that the font cannot write are written as their number, from 1.
        size: width and height of the frames in pixels.
    """

    def __init__(self, labels: Sequence[str], size: tuple[int, int]) -> None:
        self._names = {label: written(label, n) for n, label in enumerate(labels, start=1)}
        self._colours = {label: rgb(colour) for label, colour in label_colours(labels).items()}
        self._width, self._height = size
        cap = max(8.0, min(size) / 40)
        self._scale = cap / _CAP_HEIGHT
        self._cap, self._gap = round(cap), max(2, round(cap / 2))
        self._line = max(2, round(cap / 6))
        self._stroke = max(1, round(cap / 10))

    def draw(self, image: Image, tags: Sequence[Tag]) -> None:
        """Draws on a frame in place; RGB, (H, W, 3), contiguous."""
        # Large faces first: they have the place for their text where they are.
        tags = sorted(tags, key=lambda tag: -tag.box.side)
        boxes = [self._area(tag.box) for tag in tags]
        taken, heads = list(boxes), list[tuple[_Area, str]]()
        for tag, box in zip(tags, boxes, strict=True):
            heads.append(self._head(tag, box, taken))
            taken.append(heads[-1][0])
        for tag, box, (head, text) in zip(tags, boxes, heads, strict=True):
            colour = rgb(colour_of_person(tag.track_id))
            if tag.track_id != WHOLE_FRAME:
                self._outline(image, box, colour)
            if tag.row is not None and tag.row.scores:
                panel = self._place(box, head, taken)
                if panel is None:
                    self._score_bar(image, box, tag.row, colour)
                else:
                    taken.append(panel)
                    self._bars(image, panel, tag.row)
            self._fill_head(image, head, text, tag, colour)

    def _head(self, tag: Tag, box: _Area, taken: Sequence[_Area]) -> tuple[_Area, str]:
        """Returns the area and the text of the name tag, where it covers no other face or tag.

        It is above the box if possible, and only the id if the label has no place. If there is no place at
        all, it is inside the box.
        """
        person = "" if tag.track_id == WHOLE_FRAME else str(tag.track_id)
        texts = [person]
        if tag.row is not None and tag.row.label is not None:
            doubt = "" if tag.row.status == "ok" else " ?"
            text = f"{person} {self._names[tag.row.label]} {tag.row.score:.2f}{doubt}"
            texts.insert(0, text.strip())
        height = self._cap + 2 * self._gap
        for text in texts:
            width = self._text_width(text) + 2 * self._gap
            left = max(0, min(box.left, self._width - width))
            places = (
                (left, box.top - height),
                (max(0, box.right - width), box.top - height),
                (left, box.bottom),
                (box.right, box.top),
                (box.left - width, box.top),
            )
            areas = [_Area(x, y, x + width, y + height) for x, y in places]
            if tag.track_id == WHOLE_FRAME:
                areas = [_Area(0, 0, width, height)]
            free = [area for area in areas if self._is_free(area, taken)]
            if free or tag.track_id == WHOLE_FRAME:
                return (free or areas)[0], text
        fitting = (text for text in texts if self._text_width(text) < box.right - box.left)
        text = next(fitting, texts[-1])
        width = self._text_width(text) + 2 * self._gap
        return _Area(box.left, box.top, box.left + width, box.top + height), text

    def _is_free(self, area: _Area, taken: Sequence[_Area]) -> bool:
        inside = (
            area.left >= 0
            and area.top >= 0
            and area.right <= self._width
            and area.bottom <= self._height
        )
        return inside and not any(area.overlaps(other) for other in taken)

    def _fill_head(
        self, image: Image, area: _Area, text: str, tag: Tag, colour: tuple[int, int, int]
    ) -> None:
        # The person's colour only outlines the tag: a filled one would look like the bar of a label.
        corners = area[:2], (area.right - 1, area.bottom - 1)
        cv2.rectangle(image, *corners, _GROUND, cv2.FILLED)
        cv2.rectangle(image, *corners, colour, self._stroke)
        ink = _WHITE if tag.row is None or tag.row.status == "ok" else _FAINT
        self._write(image, text, area.left + self._gap, area.bottom - self._gap, ink)

    def _outline(self, image: Image, box: _Area, colour: tuple[int, int, int]) -> None:
        corners = (box.left, box.top), (box.right - 1, box.bottom - 1)
        cv2.rectangle(image, *corners, _BLACK, self._line + 2)
        cv2.rectangle(image, *corners, colour, self._line)

    def _place(self, box: _Area, head: _Area, taken: Sequence[_Area]) -> _Area | None:
        """Returns a free place for the bars: below the box and its tag, above them, or beside the box."""
        name = max(map(self._text_width, self._names.values()))
        width = max(name + 3 * self._gap + 5 * self._cap, min(box.right - box.left, 14 * self._cap))
        height = self._bar_step * min(_SHOWN, len(self._names)) + self._gap
        left = max(0, min(box.left, self._width - width))
        for x, y in (
            (left, (head.bottom if head.top >= box.bottom else box.bottom + self._line + 1)),
            (left, head.top - height),
            (box.right + self._line + 1, box.top),
            (box.left - self._line - 1 - width, box.top),
        ):
            area = _Area(x, y, x + width, y + height)
            if self._is_free(area, taken):
                return area
        return None

    @property
    def _bar_step(self) -> int:
        return self._cap + self._gap

    def _bars(self, image: Image, area: _Area, row: Row) -> None:
        """Draws the most probable labels with a bar each; a full bar is a probability of 1."""
        ground = image[area.top : area.bottom, area.left : area.right]
        ground[:] = cv2.convertScaleAbs(ground, alpha=_SHADE)
        name = max(map(self._text_width, self._names.values()))
        start, end = area.left + 2 * self._gap + name, area.right - self._gap
        best = sorted(row.scores.items(), key=lambda item: -item[1])[:_SHOWN]
        for number, (label, score) in enumerate(best):
            bottom = area.top + (number + 1) * self._bar_step
            self._write(image, self._names[label], area.left + self._gap, bottom, _WHITE)
            length = round((end - start) * score)
            top = bottom - self._cap
            cv2.rectangle(image, (start, top), (end - 1, bottom), (110, 110, 110), 1)
            if length > 0:
                corner = (start + length - 1, bottom)
                cv2.rectangle(image, (start, top), corner, _light(self._colours[label]), cv2.FILLED)

    def _score_bar(self, image: Image, box: _Area, row: Row, colour: tuple[int, int, int]) -> None:
        """Draws the probability of the label along the lower edge of the box, where bars have no place."""
        top, bottom = box.bottom - 1 - 2 * self._line, box.bottom - 1
        length = round((box.right - box.left) * (row.score or 0.0))
        cv2.rectangle(image, (box.left, top), (box.right - 1, bottom), _BLACK, cv2.FILLED)
        cv2.rectangle(image, (box.left, top), (box.left + length - 1, bottom), colour, cv2.FILLED)

    def _area(self, box: FaceBox) -> _Area:
        """Returns the part of a box inside the frame, at least one pixel."""
        left = max(0, min(round(box.x), self._width - 1))
        top = max(0, min(round(box.y), self._height - 1))
        right = max(left + 1, min(round(box.x + box.width), self._width))
        bottom = max(top + 1, min(round(box.y + box.height), self._height))
        return _Area(left, top, right, bottom)

    def _text_width(self, text: str) -> int:
        return cv2.getTextSize(text, _FONT, self._scale, self._stroke)[0][0]

    def _write(self, image: Image, text: str, x: int, y: int, ink: tuple[int, int, int]) -> None:
        cv2.putText(image, text, (x, y), _FONT, self._scale, ink, self._stroke, cv2.LINE_AA)


def written(label: str, number: int) -> str:
    """Returns a label in the letters that OpenCV's font has: ASCII, without accents.

    A label with other letters, which would be unreadable, is its number after a #.
    """
    plain = unicodedata.normalize("NFKD", label.replace("ß", "ss"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return shortened(plain, 24).replace("…", "...") if plain.isascii() else f"#{number}"


def numbered(labels: Sequence[str]) -> dict[str, str]:
    """Returns the labels that a video shows as their number, by that number, such as #3."""
    return {
        f"#{number}": label
        for number, label in enumerate(labels, start=1)
        if label != f"#{number}" == written(label, number)
    }


def rgb(colour: str) -> tuple[int, int, int]:
    """Returns red, green and blue, 0 to 255, of a colour such as #E69F00."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _brightness(colour: tuple[int, int, int]) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _light(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Returns a colour that is readable on black."""
    lift = max(0, 130 - _brightness(colour)) / 255
    red, green, blue = (round(part + (255 - part) * lift) for part in colour)
    return red, green, blue
