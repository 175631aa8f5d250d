"""Lists a video's frames from its packets if each contains one frame, otherwise from the decoded frames."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import av
from av.packet import Packet
from av.video.stream import VideoStream

_PAUSE_S = 10
"""A longer pause may be a wrong timestamp."""

_MAX_REORDERED = 16
"""Number of frames by which decoding and presentation order differ at most, in H.264 and H.265."""

_REMEMBERED = 2**20
"""Total number of frames in cached indices of decoded videos: 40 MB."""


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """The frames of a video in decoding order."""

    times: list[int]
    """In units of the stream's time base; meaningless if not `exact`."""
    keys: list[int]
    """Positions of the key frames, from which decoding can start."""
    exact: bool
    """Whether the times increase from frame to frame, so that each time identifies a frame."""
    certain: bool
    """Whether there is no indication that decoding produces different frames."""
    decoded: bool = False
    """Whether the frames were counted by decoding all of them."""
    failure: str | None = None
    """Why the frames end early, if they do."""

    @classmethod
    def of_damaged(cls, count: int, failure: str | None) -> FrameIndex:
        """Returns the index of a damaged file: seeking in it would give other pixels than reading from its start."""
        return cls([0] * count, [], exact=False, certain=True, decoded=True, failure=failure)

    def __len__(self) -> int:
        return len(self.times)

    def begins(self, first: list[int | None]) -> bool:
        """Returns whether these are the times of the first frames."""
        return len(first) > 0 and self.times[: len(first)] == first


@dataclass(frozen=True, slots=True)
class _Picture:
    """A packet with a picture; times in units of the stream's time base."""

    time: int | None
    decoding_time: int | None
    is_key: bool


def packet_index(stream: VideoStream, packets: Iterable[Packet[VideoStream]]) -> FrameIndex:
    """Lists the frames in a stream from its packets, without decoding them."""
    shows = PICTURES.get(stream.codec_context.codec.canonical_name)
    found: list[_Picture] = []
    whole = True
    try:
        for packet in packets:
            if packet.size == 0 or packet.is_discard:
                continue
            whole &= not packet.is_corrupt
            if shows is None or shows(memoryview(packet)):
                time = packet.dts if packet.pts is None else packet.pts
                found.append(_Picture(time, packet.dts, packet.is_keyframe))
    except (av.FFmpegError, OSError):
        whole = False  # the frames end where the packets do; decoding reports the damage
    known = sorted((one.time, one.is_key) for one in found if one.time is not None)
    times = [time for time, _ in known]
    exact = len(set(times)) == len(found) > 0
    keys = [i for i, (_, is_key) in enumerate(known) if is_key]
    return FrameIndex(times, keys, exact, whole and exact and _certain(stream, found, times))


def _certain(stream: VideoStream, found: list[_Picture], times: list[int]) -> bool:
    # Pictures before the first key frame, by order or by time, may refer to pictures that are missing.
    whole = found[0].is_key and found[0].time == times[0]
    # The two fields of a frame may be two packets.
    fields = getattr(stream.codec_context, "field_order", 0) > 1  # not in older versions of PyAV
    # A pause is in the times of decoding, too; a wrong time stamp is not, or these go back.
    decoding = [one.decoding_time for one in found if one.decoding_time is not None]
    rising = all(a <= b for a, b in itertools.pairwise(decoding))
    pause = math.ceil(_PAUSE_S / stream.time_base) if stream.time_base else 1
    alike = abs(_paused(times, pause) - _paused(decoding, pause)) < pause
    return whole and not fields and rising and alike and _in_order(stream, found, times)


def _in_order(stream: VideoStream, found: list[_Picture], times: list[int]) -> bool:
    """Returns whether the pictures are in the order of their times, except for B-frames.

    A wrong time stamp puts a picture between two others: out of order without B-frames, and with them closer to
    one of its neighbours than pictures usually are.
    """
    if all(one.time == time for one, time in zip(found, times, strict=True)):
        return True
    if not stream.codec_context.has_b_frames:
        return False
    place = {time: index for index, time in enumerate(times)}
    moved = max(abs(place[one.time] - i) for i, one in enumerate(found) if one.time is not None)
    steps = sorted(b - a for a, b in itertools.pairwise(times))
    return moved <= _MAX_REORDERED and 2 * steps[0] > steps[len(steps) // 2]


def _paused(times: list[int], pause: int) -> int:
    """Returns how long the pauses are together that are longer than `pause`."""
    return sum(b - a for a, b in itertools.pairwise(times) if b - a > pause)


def decoded_index(stamps: list[int | None], keys: set[int]) -> FrameIndex:
    """Lists the frames from the decoded frames.

    Args:
        stamps: the frames' times, in decoding order.
        keys: the times of the packets at which decoding can start.
    """
    times = [stamp for stamp in stamps if stamp is not None]
    exact = len(times) == len(stamps) and all(a < b for a, b in itertools.pairwise(times))
    if not exact:
        return FrameIndex([0] * len(stamps), [], exact=False, certain=True, decoded=True)
    starts = [i for i, time in enumerate(times) if time in keys]
    return FrameIndex(times, starts, exact=True, certain=True, decoded=True)


# --- packets without a picture ------------------------------------------------------------------


def _vp8_shows(data: memoryview) -> bool:
    return bool(data[0] & 0x10)  # RFC 6386, section 9.1: show_frame


def _vp9_shows(data: memoryview) -> bool:
    if data[-1] & 0xE0 == 0xC0:  # a superframe, which ends with the one frame that is shown
        return True
    header = format(data[0], "08b")
    profile = int(header[3] + header[2], 2)
    rest = header[5 if profile == 3 else 4 :]  # show_existing_frame, frame_type, show_frame
    return rest[0] == "1" or rest[2] == "1"


def _gif_shows(data: memoryview) -> bool:
    """Returns whether a packet holds an image and not only extensions, such as comments."""
    place = 0
    if bytes(data[:3]) == b"GIF":
        place = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while place + 1 < len(data) and data[place] == 0x21:
        place += 2
        while place < len(data) and data[place]:
            place += 1 + data[place]
        place += 1
    return place < len(data) and data[place] == 0x2C


PICTURES: dict[str, Callable[[memoryview], bool]] = {
    "vp8": _vp8_shows,
    "vp9": _vp9_shows,
    "gif": _gif_shows,
}
"""By codec, whether a packet contains a displayed frame: VP8 and VP9 have packets used only to predict other
frames, and a GIF may have comments after its last frame."""


# --- indexes that took a decoding ---------------------------------------------------------------

Version = tuple[str, int, int]
"""Path, size and modification time of a file."""

_known: dict[Version, FrameIndex] = {}


def version_of(source: Path | str) -> Version | None:
    """Returns an identifier of a file's content; `None` for an address."""
    if not isinstance(source, Path):
        return None
    try:
        status = source.stat()
    except OSError:
        return None
    return str(source.absolute()), status.st_size, status.st_mtime_ns


def remembered(version: Version | None) -> FrameIndex | None:
    """Returns the cached index of a file that this process has already decoded."""
    return None if version is None else _known.get(version)


def remember(version: Version | None, index: FrameIndex) -> None:
    if version is None or len(index) > _REMEMBERED:
        return
    if sum(map(len, _known.values())) + len(index) > _REMEMBERED:
        _known.clear()
    _known[version] = index
