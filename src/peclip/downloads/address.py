"""What an address and the answer of its server say: whether it is a live stream, and how it may be shown."""

from __future__ import annotations

import re

LIVE_TYPES = frozenset({
    "application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl",
    "multipart/x-mixed-replace",
})  # fmt: skip
"""Media types of HLS playlists and of MJPEG cameras."""

_PASSWORD = re.compile(r"(?<=://)([^/?#@:]*):[^/?#]*@")


class LiveStream(Exception):
    """An address gives a live stream, which may have no end and cannot be downloaded."""


def is_playlist(address: str) -> bool:
    """Returns whether an address is that of an HLS playlist, by its suffix."""
    return address.partition("?")[0].partition("#")[0].lower().endswith(".m3u8")


def is_live(address: str, content_type: str) -> bool:
    """Returns whether a response is a live stream, by its Content-Type or the suffix of its address."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in LIVE_TYPES or is_playlist(address)


def without_password(address: str) -> str:
    """Returns an address as it may be shown and stored: `rtsp://admin:***@10.0.0.7/stream`."""
    return _PASSWORD.sub(r"\1:***@", address)
