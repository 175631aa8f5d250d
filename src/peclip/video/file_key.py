"""Identifies a file whatever its names: symbolic and hard links share one key."""

from __future__ import annotations

import os
from pathlib import Path

FileKey = tuple[int, int, int] | str
"""Device, inode and size; or the path without symbolic links, if the file system has no inodes."""


def file_key(path: Path) -> FileKey:
    """Returns what identifies a file or a folder."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):  # reported when it is opened
        return os.path.realpath(path)
    # The size guards against file systems that reuse inodes.
    found = (about.st_dev, about.st_ino, about.st_size)
    return found if about.st_ino else os.path.realpath(path)
