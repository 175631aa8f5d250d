"""The views of a video whose predictions are averaged, as text such as `clips=2,crops=2,flip`."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

MAX_CLIPS, MAX_CROPS = 10, 6
_NONE, _FLIP = "none", "flip"
_COUNT = re.compile(r"(clips|crops)=([0-9]{1,2})")


class Views(NamedTuple):
    """Every combination of a clip, a crop and, if flipped, its mirror image is a view."""

    clips: int = 1
    """Number of choices of frames; see `peclip.video.sampling.clip_indices`."""
    crops: int = 1
    """Number of parts of the pictures; see `peclip.models.views`."""
    flip: bool = False
    """Whether mirror images are views as well."""

    @property
    def number(self) -> int:
        """Number of views, which the time of a prediction is multiplied by."""
        return self.clips * self.crops * (1 + self.flip)

    def __str__(self) -> str:
        counts = {"clips": self.clips, "crops": self.crops}
        parts = [f"{name}={count}" for name, count in counts.items() if count > 1]
        return ",".join([*parts, *[_FLIP] * self.flip]) or _NONE


def parse_views(text: str) -> Views:
    """Reads `none`, or one or more of `clips=N`, `crops=N` and `flip`, separated by commas.

    Raises:
        ValueError: the text has another form, a part twice, or a number out of range.
    """
    parts = [part.strip() for part in text.split(",")]
    if parts == [_NONE]:
        return Views()
    given: dict[str, int] = {}
    for part in parts:
        match = _COUNT.fullmatch(part)
        name, count = (part, 1) if match is None else (match[1], int(match[2]))
        limit = {"clips": MAX_CLIPS, "crops": MAX_CROPS, _FLIP: 1}.get(name)
        if limit is None or (match is None) != (name == _FLIP) or not 1 <= count <= limit:
            raise ValueError(
                f"{part!r} is not a view: use none, or one or more of clips=1 to {MAX_CLIPS}, crops=1 "
                f"to {MAX_CROPS} and flip, separated by commas, such as clips=2,crops=2,flip"
            )
        if name in given:
            raise ValueError(f"{name} is given twice; give it once")
        given[name] = count
    return Views(given.get("clips", 1), given.get("crops", 1), _FLIP in given)


ViewsText = Annotated[str, AfterValidator(lambda text: str(parse_views(text)))]
"""Type of a field with views as text, in one form whatever the order of its parts."""
