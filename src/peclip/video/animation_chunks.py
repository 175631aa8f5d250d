"""Lists the frames of animated images from a file's chunks, without decoding.

WebP: https://developers.google.com/speed/webp/docs/riff_container#animation; PNG:
https://www.w3.org/TR/png-3/#apng-frame-based-animation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

_PNG = b"\x89PNG\r\n\x1a\n"
_NO_DELAY_S = 1 / 15
"""Duration used for frames with a stated duration of 0, as in FFmpeg."""


def is_animation(path: Path) -> bool:
    """Returns whether a file's content is a WebP or PNG with several frames, regardless of its extension."""
    if not os.path.isfile(path):  # reading from a pipe would wait
        return False
    try:
        return len(list(islice(frame_delays(path), 2))) > 1
    except OSError:  # reported when it is opened as an image or a video
        return False


def is_gif(path: Path) -> bool:
    """Returns whether a file's content is a GIF."""
    if not os.path.isfile(path):  # even opening a pipe would wait
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GIF8"
    except OSError:
        return False


def frame_delays(path: Path) -> Iterator[float]:
    """Yields the duration in seconds of each frame in an animation; yields nothing for other files."""
    with path.open("rb") as file:
        start = file.read(12)
        if start.startswith(_PNG):
            file.seek(len(_PNG))
            delays = _png_delays(file)
        elif start[:4] == b"RIFF" and start[8:] == b"WEBP":
            delays = _webp_delays(file)
        else:
            return
        for delay in delays:
            yield delay or _NO_DELAY_S


def _png_delays(file: BinaryIO) -> Iterator[float]:
    left = 0  # frames that are still announced
    delay: float | None = None
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        end = file.tell() + size + 4
        if kind == b"acTL":
            left = int.from_bytes(file.read(4), "big")
        elif kind == b"fcTL":
            fields = file.read(26)
            delay = int.from_bytes(fields[20:22], "big")
            delay /= int.from_bytes(fields[22:24], "big") or 100
        elif kind in (b"IDAT", b"fdAT") and not left:  # a still, or the last frame
            return
        elif kind in (b"IDAT", b"fdAT") and delay is not None:
            yield delay
            left, delay = left - 1, None
        file.seek(end)


def _webp_delays(file: BinaryIO) -> Iterator[float]:
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[4:], "little"), head[:4]
        end = file.tell() + size + size % 2
        if kind == b"ANMF" and len(frame := file.read(16)) == 16:
            yield int.from_bytes(frame[12:15], "little") / 1000
        elif kind in (b"VP8 ", b"VP8L"):  # a still
            return
        file.seek(end)
