"""What a search of folders leaves out: every file is read, or counted and named."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

logger = logging.getLogger(__name__)

_SHOWN = 5
"""Names in a line; the others are only counted."""

_OWN_NAMES = frozenset({"frames.json", "left_out.json", "preprocessing.json"})
_OWN_ENDINGS = ("parts.safetensors",)
"""Files that `peclip data prepare` writes next to its crops; `is_own` knows them."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why files are left out."""

    noun: str
    plural: str
    why: str
    """Follows `2 files were skipped`."""
    remedy: str

    @property
    def text(self) -> str:
        """The reason for one file."""
        return f"skipped, {self.why}. {self.remedy}"


UNKNOWN_SUFFIX = Reason(
    *("file", "files", "without the suffix of a video or an image"),
    "To read a file whatever its suffix, pass the file itself.",
)
NEXT_TO_VIDEOS = Reason(
    *("image", "images", "next to or above videos"),
    "To read them, move them to a folder without videos, or pass the images themselves.",
)
THUMBNAIL = Reason(
    *("image", "images", "with the name of a video in the same folder, as thumbnails have"),
    "To use them as samples, rename them.",
)
UNLABELLED = Reason(
    *("file", "files", "outside the label folders"), "To use them, move them to a label folder."
)
SAME_FILE = Reason(
    *("source", "sources", "because another name of the same file is read"),
    "To read a file under both names, copy it.",
)
SAME_FOLDER = Reason(
    *("folder", "folders", "because another name of the same folder is searched"),
    "To search it under both names, copy it.",
)
NOT_A_FILE = Reason(
    *("name", "names", "because a broken link, a pipe or a device is not a file"),
    "Remove them, or copy the files.",
)


class Omissions:
    """Collects what a search leaves out, by reason."""

    def __init__(self) -> None:
        self._found: dict[Reason, list[Path]] = {}

    def __iter__(self) -> Iterator[tuple[Reason, Path]]:
        return ((reason, path) for reason, paths in self._found.items() for path in paths)

    def add(self, reason: Reason, paths: Iterable[Path]) -> None:
        """Adds what is left out for one reason."""
        self._found.setdefault(reason, []).extend(paths)

    def lines(self, root: Path | None = None) -> list[str]:
        """Returns a line for each reason: how many, which, and what to do; with a root, relative to it."""
        return [_line(reason, paths, root) for reason, paths in self._found.items() if paths]

    def warn(self) -> None:
        """Logs the lines as warnings."""
        for line in self.lines():
            logger.warning("%s", line)


def is_own(name: str) -> bool:
    """Returns whether a file belongs to crops made by `peclip data prepare`."""
    return name in _OWN_NAMES or name.endswith(_OWN_ENDINGS)


def _line(reason: Reason, paths: list[Path], root: Path | None) -> str:
    names = [
        str(path if root is None else path.relative_to(root)) for path in nsmallest(_SHOWN, paths)
    ]
    more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
    noun = f"1 {reason.noun} was" if len(paths) == 1 else f"{len(paths):,} {reason.plural} were"
    return f"{noun} skipped, {reason.why}: {', '.join(names)}{more}. {reason.remedy}"
