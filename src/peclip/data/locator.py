"""Finding the videos of a list that was written on another machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from peclip.data.annotation_list import Entry
from peclip.data.samples import Sample
from peclip.video.sources import VIDEO_SUFFIXES


class Locator:
    """Finds paths of a list by their longest tail that exists below a root.

    Each folder is listed once, so that the 31,088 lines of FERV39k ask the disk some hundred times.

    Args:
        root: the folder of the data set.
        homes: folders below the root where the videos may be, beside the root itself.
        parts: how many parts of a path are needed to name a video: 1 for `00001`, 3 for
            `Action/Happy/0015`, whose last part is not unique.
    """

    def __init__(self, root: Path, *, homes: Sequence[str] = (), parts: int = 1) -> None:
        self._bases = [root, *(root / home for home in homes)]
        self._parts = parts
        self._folders: dict[tuple[str, ...], list[Path]] = {}
        self._listings: dict[Path, dict[str, str]] = {}

    def find(self, parts: tuple[str, ...]) -> tuple[Path, bool]:
        """Returns where a video is and True, or where it should be and False."""
        folders = self._folders_of(parts[:-1])
        name = parts[-1]
        # DFEW's frames are in 00001, and its videos are called 1.mp4.
        names = (name, name.lstrip("0") or "0") if name.isdecimal() else (name,)
        for folder in folders:
            listing = self._listing(folder)
            for wanted in names:
                if wanted in listing:
                    return folder / listing[wanted], True
        expected = folders[0] if folders else self._bases[0].joinpath(*parts[-self._parts : -1])
        return expected / name, False

    def _folders_of(self, parts: tuple[str, ...]) -> list[Path]:
        """Returns the folders below the root that these parts may mean, those of long tails first."""
        if parts not in self._folders:
            # The last part is not among these, so a tail has one part less than is needed.
            tails = [parts[start:] for start in range(len(parts) - self._parts + 2)]
            found = [base.joinpath(*tail) for base in self._bases for tail in tails]
            self._folders[parts] = [folder for folder in found if folder.is_dir()]
        return self._folders[parts]

    def _listing(self, folder: Path) -> dict[str, str]:
        """Returns names of videos without suffix → names on the disk; folders come before files."""
        if folder not in self._listings:
            folders: dict[str, str] = {}
            files: dict[str, str] = {}
            with os.scandir(folder) as entries:
                for entry in entries:
                    stem, suffix = os.path.splitext(entry.name)
                    if entry.is_dir():
                        folders[entry.name] = entry.name
                    elif suffix.lower() in VIDEO_SUFFIXES:
                        # Two files of one name (.mp4 and .avi): always the same one of them.
                        files[stem] = min(entry.name, files.get(stem, entry.name))
            self._listings[folder] = files | folders
        return self._listings[folder]


def locate(
    entries: Iterable[Entry], locator: Locator, *, id_parts: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Returns the samples of a list, and those of them whose video is not there."""
    samples, missing = [], []
    for entry in entries:
        source, found = locator.find(entry.parts)
        sample = Sample(source, entry.label, entry.id(id_parts), num_frames=entry.num_frames)
        samples.append(sample)
        if not found:
            missing.append(sample)
    return tuple(samples), tuple(missing)
