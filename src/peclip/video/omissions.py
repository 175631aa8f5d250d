"""Files skipped in a folder search: every file is either read, or counted and listed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

logger = logging.getLogger(__name__)

_SHOWN = 5
"""Number of names listed; the others are only counted."""

_OWN_NAMES = frozenset({"frames.json", "left_out.json", "preprocessing.json", "sound.flac"})
_OWN_ENDINGS = ("parts.safetensors",)
"""Files that `peclip data prepare` writes next to its crops; see `is_own`."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why files are skipped."""

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
    *("file", "files", "without a video or image extension"),
    "To read a file regardless of its extension, pass the file itself.",
)
NEXT_TO_VIDEOS = Reason(
    *("image", "images", "next to videos or in a folder above them"),
    "To read them, move them to a folder without videos, or pass the images themselves.",
)
THUMBNAIL = Reason(
    *("image", "images", "with the same name as a video in the folder, as thumbnails have"),
    "To use them as samples, rename them.",
)
UNLABELLED = Reason(
    *("file", "files", "outside the label folders"), "To use them, move them to a label folder."
)
SAME_FILE = Reason(
    *("source", "sources", "because the same file is already read under another name"),
    "To read a file under both names, copy it.",
)
SAME_FOLDER = Reason(
    *("folder", "folders", "because the same folder is already searched under another name"),
    "To search it under both names, copy it.",
)
NOT_A_FILE = Reason(
    *("name", "names", "because a broken link, a pipe or a device is not a file"),
    "Remove them, or copy the files.",
)


class Omissions:
    """Collects the files that a search skips, by reason."""

    def __init__(self) -> None:
        self._found: dict[Reason, list[Path]] = {}

    def __iter__(self) -> Iterator[tuple[Reason, Path]]:
        return ((reason, path) for reason, paths in self._found.items() for path in paths)

    def add(self, reason: Reason, paths: Iterable[Path]) -> None:
        """Adds files skipped for one reason."""
        self._found.setdefault(reason, []).extend(paths)

    def lines(self, root: Path | None = None) -> list[str]:
        """Returns a line for each reason, with the number of files, their names and a remedy."""
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
