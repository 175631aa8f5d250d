"""The videos and stills below a folder, for data sets without lists."""

from __future__ import annotations

import os
from pathlib import Path

from peclip.errors import DatasetError
from peclip.video.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural_key


def find_media(folder: Path) -> list[Path]:
    """Returns the video files and the folders of frames below a folder, at any depth, in natural order.

    A folder below it that holds images is one video. Images in the folder itself are stills, each a
    sample. Images next to videos are thumbnails, and names that start with a dot are skipped.

    Raises:
        DatasetError: a folder cannot be read.
    """
    found = _below(folder, stills=True)
    return sorted(found, key=lambda path: [natural_key(p) for p in path.relative_to(folder).parts])


def sub_folders(folder: Path) -> list[Path]:
    """Returns the folders directly in a folder, except hidden ones, in natural order.

    Raises:
        DatasetError: the folder cannot be read.
    """
    return sorted(_list(folder)[0], key=lambda path: natural_key(path.name))


def count_images(folder: Path) -> int:
    """Counts the images directly in a folder, except hidden ones.

    Raises:
        DatasetError: the folder cannot be read.
    """
    return len(_list(folder)[2])


def is_still(path: Path) -> bool:
    """Returns whether a source is one image, by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def frames_folder(path: Path) -> Path:
    """Returns the folder of frames of a video: `one.mp4` gives `one`, and a folder gives itself.

    Only video and image suffixes are removed, because `clip.01` and `clip.02` are two videos.
    """
    known = path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES
    return path.with_suffix("") if known and not path.is_dir() else path


def _below(folder: Path, *, stills: bool) -> list[Path]:
    folders, videos, images = _list(folder)
    found = list(videos)
    for inner in folders:
        found += _below(inner, stills=False)
    if images and not videos:
        found += images if stills else [folder]
    return found


def _list(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Returns the folders, videos and images directly in a folder."""
    folders, videos, images = [], [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                suffix = os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith("."):
                    continue
                # By suffix first: testing whether each of a million frames is a folder is slow.
                if suffix in IMAGE_SUFFIXES:
                    images.append(folder / entry.name)
                elif suffix in VIDEO_SUFFIXES and not entry.is_dir():
                    videos.append(folder / entry.name)
                elif entry.is_dir():
                    folders.append(folder / entry.name)
    except OSError as error:
        raise DatasetError(
            f"The folder {folder} cannot be read: {error.strerror}. Check the path and its "
            "permissions."
        ) from None
    return folders, videos, images
