"""Turns command-line arguments into a list of sources that can be opened."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from peclip.downloads.address import is_playlist
from peclip.errors import ConfigError, VideoError
from peclip.video.animation_chunks import is_animation
from peclip.video.file_key import FileKey, file_key
from peclip.video.omissions import (
    NEXT_TO_VIDEOS,
    NOT_A_FILE,
    SAME_FILE,
    SAME_FOLDER,
    UNKNOWN_SUFFIX,
    Omissions,
    is_own,
)

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3g2", ".3gp", ".apng", ".asf", ".avi", ".divx", ".flv", ".gif", ".h264", ".h265", ".hevc", ".ivf", ".m1v",
    ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts",
    ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on
"""Used only to pick the files of a folder: an explicitly named file is always tried."""


_LAST_CAMERA = 2**15 - 1
"""Higher numbers are names of files that lack their suffix."""


@dataclass(frozen=True, slots=True)
class Source:
    """One video to read: `open_video(source.location)`."""

    name: str
    """Name of the source in results."""
    location: Path | str | int
    """A file, a folder of images, an http(s) or rtsp(s) URL or a webcam index."""

    @property
    def key(self) -> FileKey | int:
        """Identical for all spellings of one path, and for symbolic and hard links to it."""
        return file_key(self.location) if isinstance(self.location, Path) else self.location


def expand_sources(args: Sequence[str | Path | int]) -> list[Source]:
    """Expands paths, folders, glob patterns, addresses and camera numbers to sources.

    An existing path is always treated as a path. A folder is expanded to the videos in it and its subfolders,
    including animated images; each subfolder that contains images but no videos is one source. The order is kept
    and duplicates are dropped; a warning lists what is skipped, with counts.

    Raises:
        VideoError: a path does not exist, a pattern matches nothing, or a folder contains nothing to read.
        ConfigError: a name is empty.
    """
    omissions = Omissions()
    found = (source for arg in args for source in expand_source(arg, omissions))
    sources = taken_once(found, omissions)
    omissions.warn()
    return sources


def taken_once(sources: Iterable[Source], omissions: Omissions) -> list[Source]:
    """Drops duplicates; those with another name are added to the omissions."""
    found: dict[FileKey | int, Source] = {}
    for source in sources:
        kept = found.setdefault(source.key, source)
        if kept.location != source.location:
            omissions.add(SAME_FILE, [Path(source.name)])
    return list(found.values())


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Returns a sort key in which the numbers of a text count as numbers: `frame_2` < `frame_10`."""
    parts = re.findall(r"\d+|\D+", text)
    # The text itself last, so that "a01" and "a1", and "A" and "a", always come in the same order.
    key = [(0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in parts]
    return (*key, (2, 0, text))


def is_address(text: str) -> bool:
    """Returns whether a text is the address of a file or a live source: http, https, rtsp or rtsps."""
    return text.lower().startswith(("http://", "https://", "rtsp://", "rtsps://"))


def is_live_address(text: str) -> bool:
    """Returns whether an address is a live source: RTSP, or an HLS playlist judging by its extension.

    An MJPEG camera can be recognised only from the server's response.
    """
    rtsp = text.lower().startswith(("rtsp://", "rtsps://"))
    return rtsp or (is_address(text) and is_playlist(text))


def check_file(path: Path) -> None:
    """Checks that there is something to read in a file, before a decoder opens it.

    Raises:
        VideoError: it does not exist, may not be read, is empty, or is a folder, a pipe or a device.
    """
    try:
        about = path.stat()
    except FileNotFoundError:
        raise VideoError(f"{path} does not exist. Check the path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"{path} cannot be read: {reason}. Check the path.") from error
    if stat.S_ISDIR(about.st_mode):
        raise VideoError(f"{path} is a folder, not a file.")
    if not stat.S_ISREG(about.st_mode):  # it is read several times, and may have no end
        raise VideoError(
            f"{path} is a pipe or a device, not a file. Save the video to a file and use that "
            "file, or use a webcam index."
        )
    if about.st_size == 0:
        raise VideoError(f"{path} is an empty file (0 bytes). Copy or download it again.")


def expand_source(arg: str | Path | int, omissions: Omissions) -> list[Source]:
    """Expands a single argument of `expand_sources`; several links to the same file may remain.

    Args:
        arg: a path, a folder, a pattern, an address or a camera number.
        omissions: receives what a folder search skips.

    Raises:
        VideoError: as for `expand_sources`.
        ConfigError: as for `expand_sources`.
    """
    if isinstance(arg, int):
        return [_camera(arg)]
    if arg == "":  # as a path it is the current folder, but here it comes from `"$UNSET"`
        raise ConfigError(
            "The source name is empty. Use a video, a folder (. is the current one), an http(s) "
            "URL or a webcam index."
        )
    path = Path(os.path.expanduser(arg))
    if _exists(path):
        return _expand_path(path, omissions)
    text = str(arg)
    if isinstance(arg, str):
        if is_address(text):
            return [Source(text, text)]
        if text.isdecimal() and text.isascii() and len(text) < 10 and int(text) <= _LAST_CAMERA:
            return [_camera(int(text))]
    if glob.has_magic(text):
        return _expand_pattern(os.path.expanduser(text), omissions)
    raise VideoError(
        f"{text!r} does not exist. Use a video file, a folder, a pattern like 'clips/*.mp4', an "
        "http(s) URL or a webcam index."
    )


def _camera(index: int) -> Source:
    if index < 0:
        raise VideoError(f"Invalid webcam index {index}; the first webcam is 0.")
    return Source(f"camera:{index}", index)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # reported when it is opened
        return True
    except (OSError, ValueError):  # a name that is too long, or with a zero byte
        return False


def _expand_pattern(pattern: str, omissions: Omissions) -> list[Source]:
    found: list[Path] = []
    for match in sorted(set(_matches(pattern)), key=natural_key):
        path = Path(match)
        if not os.path.isdir(path):
            found.append(path)
        elif "**" not in pattern:  # "**" gives the files of folders already
            found += _found_in(path, omissions)
    if not found:
        raise VideoError(
            f"The pattern {pattern!r} matches no readable files. Check the pattern; a valid "
            "example is 'clips/*.mp4'."
        )
    return [Source(str(path), path) for path in found]


def _matches(pattern: str) -> list[str]:
    """Returns what `glob` does, but `**` takes each folder once, whatever links there are to it."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return glob.glob(pattern)
    place = parts.index("**")
    rest = parts[place + 1 :] or ("*",)
    tops = glob.glob(str(Path(*parts[:place]))) if place else ["."]
    walked = [_walk(Path(top), Omissions()) for top in tops if os.path.isdir(top)]
    folders = [folder for walk in walked for folder, _ in walk]
    patterns = [Path(glob.escape(str(folder)), *rest) for folder in folders]
    return [found for inner in patterns for found in _matches(str(inner))]


def _expand_path(path: Path, omissions: Omissions) -> list[Source]:
    found = _found_in(path, omissions) if os.path.isdir(path) else [path]
    if not found:
        raise VideoError(
            f"{path} is a folder without videos (.mp4 .mov .avi .mkv .webm …) and without images "
            f"({' '.join(sorted(IMAGE_SUFFIXES))}). To read a video file with another suffix, "
            "pass the file itself."
        )
    return [Source(str(location), location) for location in found]


def _found_in(folder: Path, omissions: Omissions) -> list[Path]:
    videos, image_folders = _search(folder, omissions)
    return sorted([*videos, *image_folders], key=lambda found: _path_key(found, folder))


def _path_key(path: Path, folder: Path) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    return tuple(natural_key(part) for part in path.relative_to(folder).parts)


def _search(top: Path, omissions: Omissions) -> tuple[list[Path], list[Path]]:
    """Returns the videos in a folder at any depth, and the folders at any depth that are frame folders."""
    videos: list[Path] = []
    pictured: dict[Path, list[Path]] = {}
    for folder, entries in _walk(top, omissions):
        images = []
        for entry in entries:
            suffix = entry.suffix.lower()
            if suffix in VIDEO_SUFFIXES or (suffix in IMAGE_SUFFIXES and is_animation(entry)):
                videos.append(entry)
            elif suffix in IMAGE_SUFFIXES:
                images.append(entry)
            elif not is_own(entry.name):
                omissions.add(UNKNOWN_SUFFIX, [entry])
        if images:
            pictured[folder] = images
    # Pictures next to videos, or above them, are thumbnails, not frames.
    above = {parent for video in videos for parent in video.parents}
    for folder in pictured.keys() & above:
        omissions.add(NEXT_TO_VIDEOS, pictured[folder])
    return videos, [folder for folder in pictured if folder not in above]


def _walk(top: Path, omissions: Omissions) -> Iterator[tuple[Path, list[Path]]]:
    """Yields a folder and its sub-folders at any depth with their files, except hidden ones.

    Each is visited once, even if links lead back to it. Iterative: folders may be deeply nested.
    """
    seen: set[tuple[int, int]] = set()
    waiting = deque([top])
    while waiting:
        folder = waiting.popleft()
        try:
            about = folder.stat()
            if (about.st_dev, about.st_ino) in seen:
                omissions.add(SAME_FOLDER, [folder])
                continue
            seen.add((about.st_dev, about.st_ino))
            files, folders = _list(folder, omissions)
            os.stat(os.path.join(folder, "."))  # a folder may be listable but not enterable
        except OSError as error:
            raise VideoError(f"The folder {folder} cannot be read: {error.strerror}.") from error
        yield folder, files
        waiting += folders


def _list(folder: Path, omissions: Omissions) -> tuple[list[Path], list[Path]]:
    """Returns the files and the folders directly in a folder, except hidden ones."""
    files, folders = list[Path](), list[Path]()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path, is_link = folder / entry.name, entry.is_symlink()
            if os.path.isdir(path) if is_link else entry.is_dir():
                folders.append(path)
            elif os.path.isfile(path) if is_link else entry.is_file():
                files.append(path)
            else:
                omissions.add(NOT_A_FILE, [path])
    return files, folders
