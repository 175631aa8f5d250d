"""What a person names on the command line, turned into a list of things that can be opened."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peclip.errors import VideoError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".flv", ".gif", ".h264", ".h265", ".hevc", ".ivf", ".m1v",
    ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts",
    ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on
"""Used only to pick the files of a folder: a file that is named itself is always tried."""


@dataclass(frozen=True, slots=True)
class Source:
    """One video to read: `open_video(source.location)`."""

    name: str
    """How the source is called in results."""
    location: Path | str | int
    """A file, a folder of images, an http(s) address or the number of a camera."""


def expand_sources(args: Sequence[str | Path | int]) -> list[Source]:
    """Turns paths, folders, glob patterns, addresses and camera numbers into sources.

    What exists as a path is a path, whatever it looks like. A folder gives its videos, those of its
    sub-folders too, and each sub-folder that holds images but no videos as one source. Order is kept and
    what comes twice is taken once.

    Raises:
        VideoError: a path does not exist, a pattern matches nothing, a folder holds nothing to read.
    """
    sources: dict[Path | str | int, Source] = {}
    for arg in args:
        for source in _expand(arg):
            location = source.location
            key = location.resolve() if isinstance(location, Path) else location
            sources.setdefault(key, source)
    return list(sources.values())


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Returns a sort key in which the numbers of a text count as numbers: `frame_2` < `frame_10`."""
    parts = re.findall(r"\d+|\D+", text)
    # The text itself last, so that "a01" and "a1", and "A" and "a", always come in the same order.
    key = [(0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in parts]
    return (*key, (2, 0, text))


def is_address(text: str) -> bool:
    """Returns whether a text is an http or https address."""
    return text.lower().startswith(("http://", "https://"))


def _expand(arg: str | Path | int) -> list[Source]:
    if isinstance(arg, int):
        return [_camera(arg)]
    path = Path(os.path.expanduser(arg))
    if _exists(path):
        return _expand_path(path)
    text = str(arg)
    if isinstance(arg, str):
        if is_address(text):
            return [Source(text, text)]
        if text.isdecimal() and text.isascii():
            return [_camera(int(text))]
    if glob.has_magic(text):
        return _expand_pattern(os.path.expanduser(text))
    raise VideoError(
        f"{text!r} does not exist. Accepted are a video file, a folder, a pattern like 'clips/*.mp4', an "
        "http(s) address or the number of a webcam."
    )


def _camera(index: int) -> Source:
    if index < 0:
        raise VideoError(f"There is no camera {index}: the first one is 0.")
    return Source(f"camera:{index}", index)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or with a zero byte
        return False


def _expand_pattern(pattern: str) -> list[Source]:
    found: list[Path] = []
    for match in sorted(glob.glob(pattern, recursive=True), key=natural_key):
        path = Path(match)
        if not path.is_dir():
            found.append(path)
        elif "**" not in pattern:  # "**" gives the files of folders already
            found += _found_in(path)
    if not found:
        raise VideoError(
            f"The pattern {pattern!r} matches nothing to read. Check it; patterns are like 'clips/*.mp4'."
        )
    return [Source(str(path), path) for path in found]


def _expand_path(path: Path) -> list[Source]:
    found = _found_in(path) if path.is_dir() else [path]
    if not found:
        raise VideoError(
            f"{path} is a folder without videos (.mp4 .mov .avi .mkv .webm …) and without images "
            f"({' '.join(sorted(IMAGE_SUFFIXES))}). Name a video file to have it tried whatever its suffix."
        )
    return [Source(str(location), location) for location in found]


def _found_in(folder: Path) -> list[Path]:
    videos, image_folders = _search(folder, set())
    return sorted([*videos, *image_folders], key=lambda found: _path_key(found, folder))


def _path_key(path: Path, folder: Path) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    return tuple(natural_key(part) for part in path.relative_to(folder).parts)


def _search(folder: Path, seen: set[Path]) -> tuple[list[Path], list[Path]]:
    """Returns the videos in a folder at any depth, and the folders at any depth that are frame folders."""
    if folder.resolve() in seen:  # a link back to a folder above
        return [], []
    seen.add(folder.resolve())
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise VideoError(f"The folder {folder} cannot be read: {error.strerror}.") from error
    videos = [entry for entry in entries if _is_file(entry, VIDEO_SUFFIXES)]
    image_folders: list[Path] = []
    for entry in entries:
        if entry.is_dir():
            inner_videos, inner_folders = _search(entry, seen)
            videos += inner_videos
            image_folders += inner_folders
    # Pictures beside videos, or above them, are thumbnails and not a video.
    if not videos and any(_is_file(entry, IMAGE_SUFFIXES) for entry in entries):
        image_folders.append(folder)
    return videos, image_folders


def _is_file(path: Path, suffixes: Iterable[str]) -> bool:
    return path.suffix.lower() in suffixes and path.is_file()
