"""The name of a source in rows; naming sources needs neither numpy nor a decoder."""

from __future__ import annotations

from pathlib import Path

from peclip.downloads.address import without_password
from peclip.video.sources import is_address


def called(video: object) -> str:
    """Returns the name of a `Video` in rows: text without passwords that can be written to any file or terminal."""
    if not isinstance(video, str | Path | int):
        return "array"
    # A name that is not UTF-8 contains surrogates, which cannot be encoded.
    name = str(video).encode("utf-8", "backslashreplace").decode("utf-8")
    return without_password(name) if is_address(name) else name
