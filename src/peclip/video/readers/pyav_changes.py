"""Display properties that may change from frame to frame.

torchcodec returns only pixels, so the packets of its files are searched for changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.stream import VideoStream

from peclip.video.readers.pyav_picture import display_matrix
from peclip.video.readers.pyav_probe import Probe, open_container, stream_of

_UNITS = {
    "h264": "h264_mp4toannexb,filter_units=pass_types=6-7",
    "hevc": "hevc_mp4toannexb,filter_units=pass_types=33|39",
}
"""Bitstream filters that keep only the sequence parameter sets and the messages (SEI)."""

_DISPLAY_ORIENTATION = 47
"""The type of the message that rotates or mirrors the frames, H.264 and H.265 annex D."""

_HEADERS = {
    "mjpeg": re.compile(rb"JFIF\x00..(.{5})", re.DOTALL),
    "mpeg4": re.compile(rb"\x00\x00\x01[\x20-\x2f](.{6})", re.DOTALL),
    "mpeg1video": re.compile(rb"\x00\x00\x01\xb3(.{4})", re.DOTALL),
    "mpeg2video": re.compile(rb"\x00\x00\x01\xb3(.{4})", re.DOTALL),
}
"""The start of a sequence header, with the frame size and the pixel aspect ratio."""


def first_matrix(source: Path | str, probe: Probe) -> bytes | None:
    """Returns the display matrix of the first frame; `None` if there is none or it cannot be decoded."""
    try:
        with open_container(source) as container:
            stream = stream_of(probe, container, source)
            stream.thread_type = "SLICE"  # threads of frames decode more than the first one
            frame = next(container.decode(stream), None)
            return None if frame is None else display_matrix(frame)
    except (av.FFmpegError, OSError, ValueError):
        return None


def hidden_changes(source: Path, probe: Probe) -> str | None:
    """Returns which properties may change in a video without affecting the pixels that torchcodec returns.

    A change in size is visible in a frame's shape; changes in rotation and pixel aspect ratio are not. This
    reads all packets and decodes none (15 microseconds each).
    """
    sequences: set[bytes] = set()
    with open_container(source) as container:
        stream = stream_of(probe, container, source)
        search = _search(stream)
        if search is None:
            return None
        try:
            for packet in container.demux(stream):
                if packet.has_sidedata("new_extradata"):
                    return "its headers change"
                for header in search(packet):
                    if header is None:
                        return "its frames specify an orientation"
                    sequences.add(header)
                if len(sequences) > 1:
                    return "its headers change"
        except (av.FFmpegError, OSError):
            pass  # the packets end here; decoding reports the damage
    return None


Search = Callable[["Packet[VideoStream]"], Iterator[bytes | None]]


def _search(stream: VideoStream) -> Search | None:
    codec = stream.codec_context.name
    if codec in _UNITS:
        units = BitStreamFilterContext(_UNITS[codec], stream)
        return lambda packet: _unit_headers(packet, units, codec)
    if codec in _HEADERS:
        return lambda packet: _pattern_headers(bytes(packet), _HEADERS[codec])
    return None


def _pattern_headers(data: bytes, pattern: re.Pattern[bytes]) -> Iterator[bytes | None]:
    if b"Exif\0\0" in data:  # FFmpeg makes a display matrix of the orientation in a JPEG
        yield None
    yield from pattern.findall(data)


def _unit_headers(
    packet: Packet[VideoStream], units: BitStreamFilterContext, codec: str
) -> Iterator[bytes | None]:
    """Yields the parameter sets of a packet, and `None` for a message of orientation."""
    try:
        left = units.filter(packet if packet.size else None)
    except (av.FFmpegError, OSError):
        return  # a damaged packet, which decoding skips as well
    for unit in (unit for part in left for unit in bytes(part).split(b"\0\0\1") if unit):
        kind, length = (unit[0] & 31, 1) if codec == "h264" else (unit[0] >> 1 & 63, 2)
        if kind in (7, 33):
            yield unit.rstrip(b"\0")
        elif _DISPLAY_ORIENTATION in _messages(unit[length:]):
            yield None


def _messages(unit: bytes) -> Iterator[int]:
    """Yields the types of the messages in a unit, H.264 section 7.3.2.3."""
    data = unit.replace(b"\0\0\3", b"\0\0")  # the byte that keeps start codes out of the content
    position = 0
    while position + 2 <= len(data):
        numbers = []
        for _ in ("type", "size"):
            number = 0
            while position < len(data) and data[position] == 255:
                number, position = number + 255, position + 1
            if position >= len(data):
                return
            numbers.append(number + data[position])
            position += 1
        yield numbers[0]
        position += numbers[1]
