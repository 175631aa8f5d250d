"""Finds the FFmpeg that torchcodec would load, without importing torchcodec, which takes longer than torch."""

from __future__ import annotations

import ctypes
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_LIBAVCODEC = 54
"""Version of libavcodec in FFmpeg N, minus N: 58 in FFmpeg 4, 62 in FFmpeg 8."""
MISSING = "no FFmpeg of version 4 to 9 was found"


def torchcodec_state() -> tuple[str | None, str | None]:
    """Returns the versions of torchcodec and of its FFmpeg, and why it certainly cannot be loaded; one of them is `None`.

    Whether it fits the installed torch shows only when it is imported.
    """
    try:
        installed = f"torchcodec {version('torchcodec')}"
    except PackageNotFoundError:
        return None, "torchcodec is not installed"
    number = _ffmpeg()
    if number is not None:
        return f"{installed}, FFmpeg {number}", None
    if sys.platform == "linux":
        return None, MISSING
    return installed, None  # elsewhere, it searches in more places


def _ffmpeg() -> int | None:
    """Returns the highest version of FFmpeg that torchcodec supports and the system loads."""
    found = find_spec("torchcodec")
    if found is None or found.origin is None:
        return None
    files = Path(found.origin).parent.glob("libtorchcodec_core*.*")
    numbers = {
        int(digits) for file in files if (digits := file.name[18:].partition(".")[0]).isdecimal()
    }
    for number in sorted(numbers, reverse=True):
        try:
            ctypes.CDLL(f"libavcodec.so.{number + _LIBAVCODEC}")
        except OSError:
            continue
        return number
    return None
