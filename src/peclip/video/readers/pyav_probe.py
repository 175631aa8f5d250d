"""Opens files with PyAV and reads their headers, for both decoders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from peclip.errors import VideoError
from peclip.video.readers.clock import MAX_SECONDS
from peclip.video.readers.pyav_picture import UNSAFE_FORMATS, valid_aspect
from peclip.video.readers.streaming import check_size
from peclip.video.sources import check_file

NOT_VIDEO = frozenset({"concat", "dash", "hls", "tty"})
"""Playlists, which make FFmpeg open other files than the one that was named, and text as a picture."""

LIVE_CONTAINERS = frozenset({"hls", "mpjpeg", "rtsp"})
"""FFmpeg's names for the live formats."""

_STATES_ASPECT = frozenset({"mov", "mxf"})
"""Containers that always state the pixel aspect ratio if it was known when they were written."""

NETWORK_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Probe:
    """The video stream as described in the header of a file."""

    container: str
    """FFmpeg's first name of the format: `mov`, `matroska`, `mpegts`."""
    codec: str
    """FFmpeg's name for the codec: `h264`, `vp8`."""
    stream_index: int
    pixel_aspect: float
    """Displayed width of a pixel over its height; 1 if square or unspecified."""
    aspect_varies: bool
    """Whether the pixel aspect ratio is stored in the frames rather than the container, and may change."""
    frame_rate: float | None
    duration_s: float | None
    num_frames: int | None
    missing_end: str | None
    """Why the file is known to be truncated, if it is."""
    pixel_format: str = ""
    """FFmpeg's name for the pixel format of the first frames: `yuv420p`."""
    is_raw: bool = False
    """Whether it is a bare stream of coded frames, whose end does not show whether the last frame is whole."""
    container_start_s: float | None = None
    """The timestamp at which the file's earliest stream, often the audio, starts."""

    @property
    def has_palette(self) -> bool:
        """Whether frames are indices of colours, which MOV files state only with the first packet."""
        return self.pixel_format == "pal8"

    def start_s(self, first: float | None) -> float:
        """Returns the seconds from the start of the container to the first frame, given its timestamp."""
        if first is None or self.container_start_s is None:
            return 0.0
        offset = first - self.container_start_s
        return offset if 0 < offset < MAX_SECONDS else 0.0


def open_container(source: Path | str) -> InputContainer:
    """Opens a file or an http(s) URL.

    Raises:
        VideoError: FFmpeg does not recognise it, or it is missing.
    """
    local = isinstance(source, Path)
    try:
        # "file:" keeps a colon in a name from being read as a protocol, and the list of protocols keeps a
        # file from a stranger from making this machine fetch addresses.
        return av.open(
            f"file:{source}" if local else str(source),
            options={"protocol_whitelist": "file" if local else "http,https,tcp,tls,crypto"},
            metadata_errors="replace",
            timeout=None if local else NETWORK_TIMEOUT_S,
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"{source} cannot be read as a video: {reason(error)}. Use a video file, a folder of "
            "images, an http(s) URL or a webcam index."
        ) from error


def version() -> str:
    """Returns the versions of PyAV and of the FFmpeg inside it."""
    codec = ".".join(str(part) for part in av.library_versions["libavcodec"])
    return f"PyAV {av.__version__}, libavcodec {codec}"


def probe(source: Path | str) -> Probe:
    """Reads the header of a video, for both decoders, so that both choose the same stream.

    Raises:
        VideoError: there is no such file, or it has no video stream.
    """
    if isinstance(source, Path):
        check_file(source)
    with open_container(source) as container:
        return probe_container(container, source)


def probe_container(container: InputContainer, source: Path | str) -> Probe:
    """Reads the header of an open video.

    Raises:
        VideoError: it has no video stream.
    """
    stream = _video_stream(container, source)
    rate = stream.average_rate or stream.guessed_rate
    duration = _duration(container, stream)
    num_frames = stream.frames or (round(duration * rate) if duration and rate else None)
    return Probe(
        container=container.format.name.split(",")[0],
        codec=stream.codec_context.codec.canonical_name,
        stream_index=stream.index,
        pixel_aspect=_pixel_aspect(stream),
        aspect_varies=_aspect_varies(container, stream),
        frame_rate=float(rate) if rate else None,
        duration_s=duration,
        num_frames=num_frames,
        missing_end=_missing_end(container, stream) if isinstance(source, Path) else None,
        pixel_format=stream.codec_context.pix_fmt or "",
        is_raw=_is_raw(container),
        container_start_s=(
            None if container.start_time is None else container.start_time / av.time_base
        ),
    )


def stream_of(probe: Probe, container: InputContainer, source: Path | str) -> VideoStream:
    """Returns the stream that was probed.

    Raises:
        VideoError: the file has changed since.
    """
    for stream in container.streams.video:
        if stream.index == probe.stream_index and stream.codec_context is not None:
            return stream
    raise VideoError(f"{source} changed while it was being read. Read it again.")


def reason(error: Exception) -> str:
    """Returns FFmpeg's message, shortened."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].rstrip(". ")


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yields the packets of a stream, from the container's position to its end.

    PyAV fails on streams that appear after the header (audio in FLV, SWF or MPEG-TS), because it lists streams
    only once; the exception depends on the stream. If called again, it continues after that packet.

    Raises:
        FFmpegError, OSError: the file is damaged, and no packets follow.
    """
    while True:
        any_packet = False
        try:
            for packet in container.demux(stream):
                any_packet = True
                yield packet
            return
        except (av.FFmpegError, OSError):
            raise
        except Exception:
            if not any_packet:
                raise


def first_stamp(source: Path | str, probe: Probe) -> float | None:
    """Returns the time stamp in seconds of the first packet in the file; `None` if it has none."""
    with open_container(source) as container:
        try:
            for packet in packets_of(container, stream_of(probe, container, source)):
                if packet.size > 0 and not packet.is_discard:
                    stamp, base = packet.pts, packet.time_base
                    return None if stamp is None or base is None else float(stamp * base)
        except (av.FFmpegError, OSError):
            pass  # damaged, which decoding reports
    return None


def _video_stream(container: InputContainer, source: Path | str) -> VideoStream:
    kinds = container.format.name.split(",")
    if isinstance(source, Path) and not NOT_VIDEO.isdisjoint(kinds):
        raise VideoError(
            f"{source} is a playlist or a text file, not a video. Use the video itself."
        )
    videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not videos:
        found = [_counted(len(container.streams.audio), "audio stream")]
        if container.streams.video:  # the cover of an album is a stream of one picture
            found.append(_counted(len(container.streams.video), "cover picture"))
        raise VideoError(f"{source} has no video stream ({', '.join(found)} found).")
    best = container.streams.best("video")
    stream = next((s for s in videos if best is not None and s.index == best.index), videos[0])
    if stream.codec_context is None or stream.codec_context.pix_fmt in UNSAFE_FORMATS:
        raise VideoError(
            f"{source} has an unsupported video codec. Convert it to H.264, "
            "for example with: ffmpeg -i INPUT -c:v libx264 output.mp4"
        )
    check_size(str(source), stream.codec_context.width, stream.codec_context.height)
    return stream


def _pixel_aspect(stream: VideoStream) -> float:
    return valid_aspect(float(stream.sample_aspect_ratio or 1))


def _aspect_varies(container: InputContainer, stream: VideoStream) -> bool:
    # FFmpeg lets the container's aspect hold for the whole stream. PyAV gives it and that of the first
    # pictures as one number, which stems from the container if it differs from the decoder's.
    stated, coded = stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio
    kinds = container.format.name.split(",")
    return not stated or (stated == coded and _STATES_ASPECT.isdisjoint(kinds))


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is None:
        return None
    # Matroska and Flash say when the video ends, not how long it takes.
    ends = not {"matroska", "flv"}.isdisjoint(container.format.name.split(","))
    start = container.start_time if ends and container.start_time is not None else 0
    return (container.duration - start) / av.time_base


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _is_raw(container: InputContainer) -> bool:
    flags: Any = container.format.flags  # an int, which PyAV declares as `Flags`
    return bool(flags & Flags.no_timestamps.value)


def _missing_end(container: InputContainer, stream: VideoStream) -> str | None:
    # An interrupted copy of a file whose index is at its front opens and decodes without any error.
    entries = getattr(stream, "index_entries", ())  # not in older versions of PyAV
    if not len(entries) or container.size <= 0:
        return None
    last = entries[len(entries) - 1]
    if last.pos + last.size <= container.size:
        return None
    return "the file is truncated: its index lists frames past its end"
