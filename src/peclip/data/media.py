"""The videos and stills below a folder, for data sets without lists."""

from __future__ import annotations

import os
from pathlib import Path

from peclip.errors import DatasetError
from peclip.video.animation_chunks import is_animation
from peclip.video.omissions import (
    NEXT_TO_VIDEOS,
    NOT_A_FILE,
    THUMBNAIL,
    UNKNOWN_SUFFIX,
    Omissions,
    is_own,
)
from peclip.video.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural_key

_ANIMATED_SUFFIXES = frozenset({".png", ".webp"})


def find_media(folder: Path, omissions: Omissions | None = None) -> list[Path]:
    """Returns the video files and the folders of frames below a folder, at any depth, in natural order.

    A subfolder that contains images is one video; if one of its images is animated, each animated image
    is a video and the others are skipped. Images in the folder itself are samples, except those with the same name as a video next to them.
    Names that start with a dot are skipped.

    Args:
        folder: a label's folder.
        omissions: receives the skipped files.

    Raises:
        DatasetError: a folder cannot be read.
    """
    found = _below(folder, Omissions() if omissions is None else omissions, stills=True)
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
    """Returns whether a source is a single image, judging by its extension, and not an animation."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_animation(path)


def frames_folder(path: Path) -> Path:
    """Returns the folder of frames of a video: `one.mp4` gives `one`, and a folder gives itself.

    Only video and image suffixes are removed, because `clip.01` and `clip.02` are two videos.
    """
    known = path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES
    return path.with_suffix("") if known and not path.is_dir() else path


def list_files(folder: Path) -> list[Path]:
    """Returns the files directly in a folder that are neither hidden nor written by `peclip data prepare`.

    Raises:
        DatasetError: the folder cannot be read.
    """
    _, videos, images, others = _list(folder)
    return [*videos, *images, *others]


def _below(folder: Path, omissions: Omissions, *, stills: bool) -> list[Path]:
    folders, videos, images, others = _list(folder)
    for other in others:
        omissions.add(UNKNOWN_SUFFIX if other.is_file() else NOT_A_FILE, [other])
    found = list(videos)
    for inner in folders:
        found += _below(inner, omissions, stills=False)
    if stills:
        names = {name for video in videos for name in (video.name, video.stem)}
        shown = [image for image in images if image.stem in names]
        omissions.add(THUMBNAIL, shown)
        return found + [image for image in images if image.stem not in names]
    animated = _animations(images)
    if animated:
        videos, images = [*animated], [image for image in images if image not in animated]
        found += videos
    if images and videos:
        omissions.add(NEXT_TO_VIDEOS, images)
    elif images:
        found.append(folder)
    return found


def _animations(images: list[Path]) -> set[Path]:
    """Returns the images that are animated, as `peclip predict` finds them."""
    # JPEG frames are not opened unless the first one is animated: opening a million files is slow.
    first = min(images, key=lambda image: natural_key(image.name), default=None)
    likely = {image for image in images if image.suffix.lower() in _ANIMATED_SUFFIXES}
    if not any(is_animation(image) for image in [*likely, *filter(None, [first])]):
        return set()
    return {image for image in images if is_animation(image)}


def _list(folder: Path) -> tuple[list[Path], list[Path], list[Path], list[Path]]:
    """Returns the folders, videos, images and other files directly in a folder."""
    folders, videos, images, others = [], [], [], []
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
                elif not is_own(entry.name):
                    others.append(folder / entry.name)
    except OSError as error:
        raise DatasetError(
            f"The folder {folder} cannot be read: {error.strerror}. Check the path and its "
            "permissions."
        ) from None
    return folders, videos, images, others
