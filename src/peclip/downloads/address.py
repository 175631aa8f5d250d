"""Interprets addresses and server responses: whether they are live streams, and how to show them safely."""

from __future__ import annotations

import re

LIVE_TYPES = frozenset({
    "application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl",
    "multipart/x-mixed-replace",
})  # fmt: skip
"""Media types of HLS playlists and of MJPEG cameras."""

_PASSWORD = re.compile(r"(?<=://)([^/?#@:]*):[^/?#]*@")


class LiveStream(Exception):
    """The address is that of a live stream, which may never end and cannot be downloaded."""


def is_playlist(address: str) -> bool:
    """Returns whether an address is that of an HLS playlist, judging by its extension."""
    return address.partition("?")[0].partition("#")[0].lower().endswith(".m3u8")


def is_live(address: str, content_type: str) -> bool:
    """Returns whether a response is a live stream, judging by its Content-Type or its address's extension."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in LIVE_TYPES or is_playlist(address)


def without_password(address: str) -> str:
    """Returns an address in a form that may be shown and stored: `rtsp://admin:***@10.0.0.7/stream`."""
    return _PASSWORD.sub(r"\1:***@", address)
