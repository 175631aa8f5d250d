"""Finding the videos of a list that was written on another machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from peclip.data.benchmarks.annotation_list import Entry, check_folder_labels, find_list, read_list
from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.samples import Sample, Split
from peclip.video.sources import VIDEO_SUFFIXES


class Locator:
    """Finds the videos of a split in the folder that contains them.

    A data set may exist both as face crops and as whole scenes. A split is read from only one of them: a video
    without crops counts as missing and is not read from the scenes.

    Each folder is listed once, so that the 31,088 lines of FERV39k cause only a few hundred disk accesses.

    Args:
        root: the folder of the data set.
        homes: folders below the root that may hold the videos, besides the root itself.
        parts: number of path components that identify a video: 1 for `00001`, 3 for
            `Action/Happy/0015`, whose last part is not unique.
    """

    def __init__(self, root: Path, *, homes: Sequence[str] = (), parts: int = 1) -> None:
        self._bases = [root, *(root / home for home in homes)]
        self.parts = parts
        self._folders: dict[tuple[Path, tuple[str, ...]], Path] = {}
        self._listings: dict[Path, dict[str, str]] = {}

    def find(self, places: Sequence[tuple[str, ...]]) -> list[tuple[Path, bool]]:
        """Returns the path of each video of a split and True, or its expected path and False.

        The home is the first one that holds any of the videos; all others are expected there too.

        Args:
            places: the parts of the path of each video, as its list has them.
        """
        home = self._home_of(places)
        found = []
        for parts in places:
            name = self._name(*home, parts)
            folder = self._folder(*home, parts)
            found.append((folder / (name or parts[-1]), name is not None))
        return found

    def _home_of(self, places: Sequence[tuple[str, ...]]) -> tuple[Path, int]:
        """Returns a base, and how many parts of a path, its last one aside, lie below that base."""
        longest = max((len(parts) for parts in places), default=self.parts) - 1
        lengths = range(longest, self.parts - 2, -1)
        homes = [(base, length) for base in self._bases for length in lengths]
        for home in homes:
            if any(self._name(*home, parts) for parts in places):
                return home
        # None was found: expect them in an existing folder, if there is one.
        for base, length in homes:
            if length and any(os.path.isdir(self._folder(base, length, parts)) for parts in places):
                return base, length
        return self._bases[0], self.parts - 1

    def _name(self, base: Path, length: int, parts: tuple[str, ...]) -> str | None:
        """Returns the file name of a video, or `None` if it is not in this home."""
        if len(parts) <= length:  # a shorter path than the others: it has no tail of this length
            return None
        listing = self._listing(self._folder(base, length, parts))
        name = parts[-1]
        # DFEW's frames are in 00001, but its videos are named 1.mp4.
        names = (name, name.lstrip("0") or "0") if name.isdecimal() else (name,)
        return next((listing[wanted] for wanted in names if wanted in listing), None)

    def _folder(self, base: Path, length: int, parts: tuple[str, ...]) -> Path:
        """Returns the folder of a video in a home, existing or not."""
        tail = parts[max(0, len(parts) - 1 - length) : -1]
        if (base, tail) not in self._folders:
            self._folders[base, tail] = base.joinpath(*tail)
        return self._folders[base, tail]

    def _listing(self, folder: Path) -> dict[str, str]:
        """Returns names of videos without suffix → names on disk; empty without a folder."""
        if folder not in self._listings:
            self._listings[folder] = _list(folder) if os.path.isdir(folder) else {}
        return self._listings[folder]


def _list(folder: Path) -> dict[str, str]:
    """Returns names of videos without suffix → names on disk; folders come before files."""
    folders: dict[str, str] = {}
    files: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if entry.is_dir():
                folders[entry.name] = entry.name
            elif suffix.lower() in VIDEO_SUFFIXES:
                # Two files with one stem (.mp4 and .avi): always pick the same one.
                files[stem] = min(entry.name, files.get(stem, entry.name))
    return files | folders


def locate(
    entries: Sequence[Entry], locator: Locator
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Returns the samples of a list, and those whose video is missing."""
    samples, missing = [], []
    places = locator.find([entry.parts for entry in entries])
    for entry, (source, found) in zip(entries, places, strict=True):
        sample = Sample(source, entry.label, entry.id(locator.parts), num_frames=entry.num_frames)
        samples.append(sample)
        if not found:
            missing.append(sample)
    return tuple(samples), tuple(missing)


def read_listed(
    benchmark: Benchmark,
    root: Path,
    fold: int | None,
    split: str,
    annotations: Path | None,
    names: Sequence[str],
    *,
    homes: Sequence[str] = (),
    parts: int = 1,
    read: Callable[[Path, Sequence[str]], list[Entry]] = read_list,
) -> Split:
    """Reads a split from its annotation list; arguments are those of `find_list` and `Locator`.

    With several `parts`, the folder of a video names its label, and the list must match.

    Raises:
        DatasetError: the root, the fold or its list is missing, or a line is invalid or contradicts its
            folder.
    """
    assert benchmark.labels is not None
    benchmark.check_request(root, fold, split)
    path = find_list(benchmark, root, annotations, names)
    entries = read(path, benchmark.labels.names)
    if parts > 1:
        check_folder_labels(path, entries)
    samples, missing = locate(entries, Locator(root, homes=homes, parts=parts))
    return Split(benchmark.name, fold, split, samples, benchmark.labels, missing)
