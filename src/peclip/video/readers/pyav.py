"""Decoding with PyAV, which bundles FFmpeg: no installation, nearly as fast."""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from peclip.errors import VideoError
from peclip.video.frames import Frames
from peclip.video.interface import VideoMetadata
from peclip.video.readers.clock import Clock
from peclip.video.readers.orientation import Turner
from peclip.video.readers.pyav_index import (
    FrameIndex,
    decoded_index,
    packet_index,
    remember,
    remembered,
    version_of,
)
from peclip.video.readers.pyav_picture import ToRGB
from peclip.video.readers.pyav_probe import Probe, open_container, packets_of, reason, stream_of
from peclip.video.readers.reference_frame import fit
from peclip.video.readers.streaming import (
    MAX_PIXELS,
    Broken,
    Closing,
    Image,
    Shown,
    checked_indices,
    in_chunks,
    no_frames,
    to_frames,
)

Threads = Literal["AUTO", "SLICE"]

_COMPARED = 3
"""Number of decoded frames whose times are compared with the packets'; two reveal separately stored fields."""

_NO_PICTURE = (av.FFmpegError, OSError, ValueError)


@dataclass(slots=True)
class _PacketCounts:
    """The outcome of decoding the packets."""

    packets: int = 0
    frames: int = 0
    errors: int = 0
    end: int | None = None
    """The latest time of a packet, in units of the stream's time base."""
    last: int | None = None
    """The time of the last frame."""
    error: str | None = None

    def note_packet(self, packet: Packet[VideoStream]) -> None:
        if packet.size > 0 and not packet.is_discard:
            self.packets += 1
            if packet.pts is not None:
                self.end = packet.pts if self.end is None else max(self.end, packet.pts)

    def note_error(self, error: Exception) -> None:
        self.errors += 1
        self.error = reason(error)

    @property
    def failure(self) -> str | None:
        """Why the last frames are missing; `None` if they were decoded, whatever was skipped before."""
        came = self.last is not None and self.end is not None and self.last >= self.end
        return None if came else self.error


class PyAVReader(Closing):
    """Reads a video with PyAV. It holds nothing open between two calls.

    Raises:
        VideoError: no frame can be decoded.
    """

    def __init__(self, source: Path | str, probe: Probe, *, num_threads: int = 0) -> None:
        self._source = source
        self._probe = probe
        self._num_threads = num_threads
        self._turner = Turner(str(source))
        self._shape: tuple[int, ...] = ()
        clock = Clock(str(source), probe.frame_rate)
        self._shape = next(clock.timed(self.pictures()))[0].shape
        self._start_s = probe.start_s(clock.first)

    @property
    def metadata(self) -> VideoMetadata:
        height, width, _ = self._shape
        probe = self._probe
        return VideoMetadata(
            width,
            height,
            probe.frame_rate,
            probe.duration_s,
            probe.num_frames,
            "pyav",
            start_s=self._start_s,
        )

    def __len__(self) -> int:
        return len(self.index)

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        return in_chunks(self._images(), max_frames)

    def read(self, indices: Sequence[int]) -> Frames:
        chosen = checked_indices(indices, len(self), str(self._source))
        if not chosen:
            return no_frames(self._shape[0], self._shape[1])
        images = self._sought(sorted(set(chosen))) or self._counted(set(chosen))
        return to_frames([images[index] for index in chosen])

    def _to_rgb(self) -> ToRGB:
        return ToRGB(self._probe.pixel_aspect, self._probe.aspect_varies, self._turner)

    def _images(self) -> Iterator[Shown]:
        """Yields every frame with its time."""
        clock = Clock(str(self._source), self._probe.frame_rate)
        return itertools.starmap(Shown, clock.timed(self.pictures()))

    def pictures(self, skipped: int = 0) -> Iterator[tuple[Image, float | None, float | None]]:
        """Yields every frame, (H, W, 3), with its timestamp and its duration in seconds.

        Args:
            skipped: number of frames to skip at the beginning.

        Raises:
            Broken: the frames end early.
        """
        to_rgb, reference = self._to_rgb(), self._shape
        for frame in self._decoded(skipped):
            try:
                image = to_rgb(frame)
            except _NO_PICTURE as error:
                raise Broken(reason(error)) from error
            reference = reference or image.shape
            image = fit(image, *reference[:2])
            yield image, _seconds(frame, frame.pts), _seconds(frame, frame.duration)

    def _decoded(self, skipped: int = 0) -> Iterator[VideoFrame]:
        """Yields every frame, or raises `Broken` where they end early."""
        count = skipped
        kinds: tuple[Threads, ...] = ("AUTO", "SLICE")
        for threads in kinds:
            counts = _PacketCounts()
            with open_container(self._source) as container:
                frames = self._frames(container, self._stream(container, threads), counts)
                for frame in itertools.islice(frames, count, None):
                    count += 1
                    yield frame
            # PyAV silently drops frames left in its threads if the last packets are damaged.
            # If frames are missing without an error, a pass without such threads finds the cause.
            if counts.packets - counts.frames - counts.errors <= 0:
                break
        failure = counts.failure or self._probe.missing_end
        if failure is None and count == 0:
            failure = "its packets contain no frames"
        if failure is not None:
            raise Broken(failure)

    def _stream(self, container: InputContainer, threads: Threads) -> VideoStream:
        stream = stream_of(self._probe, container, self._source)
        stream.thread_type = threads
        stream.codec_context.thread_count = self._num_threads
        # The size may also change after the header.
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return stream

    def _frames(
        self, container: InputContainer, stream: VideoStream, counts: _PacketCounts
    ) -> Iterator[VideoFrame]:
        """Yields what can be decoded from the container's position on, past damaged packets."""
        packets = packets_of(container, stream)
        while True:
            decoded: list[VideoFrame] = []
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                counts.note_error(error)
                packet = None
            try:
                decoded = stream.decode(packet)
            except EOFError:  # flushed already, by the empty packet with which `demux` ends
                pass
            except (av.FFmpegError, OSError) as error:
                counts.note_error(error)
            for frame in decoded:
                counts.frames += 1
                counts.last = frame.pts
                yield frame
            if packet is None:
                return
            counts.note_packet(packet)

    @functools.cached_property
    def index(self) -> FrameIndex:
        """The index of the frames that decode."""
        version = version_of(self._source)
        known = remembered(version)
        if known is not None:
            return known
        with open_container(self._source) as container:
            stream = self._stream(container, "SLICE")
            listed = packet_index(stream, packets_of(container, stream))
        if listed.certain and listed.begins(self._times(_COMPARED)):
            return listed
        stamps = self._times(None)
        index = decoded_index(stamps, {listed.times[key] for key in listed.keys})
        remember(version, index)
        return index

    def _times(self, limit: int | None) -> list[int | None]:
        """Returns the times of the first frames, or of all."""
        times: list[int | None] = []
        with contextlib.suppress(Broken):  # the frames before it count
            times.extend(frame.pts for frame in itertools.islice(self._decoded(), limit))
        return times

    def _sought(self, wanted: list[int]) -> dict[int, Shown] | None:
        """Returns frames by way of seeking, or `None` if that does not find each by its exact time."""
        index, to_rgb = self.index, self._to_rgb()
        if not index.exact or not index.keys or wanted[0] < index.keys[0]:
            return None
        images: dict[int, Shown] = {}
        position = -1
        frames: Iterator[VideoFrame] = iter(())
        with open_container(self._source) as container:
            stream = self._stream(container, "AUTO")
            for target in wanted:
                key = index.keys[bisect.bisect_right(index.keys, target) - 1]
                if key > position:  # cheaper than decoding all that is between
                    try:
                        container.seek(index.times[key], stream=stream)
                    except (av.FFmpegError, OSError):
                        return None
                    frames = self._frames(container, stream, _PacketCounts())
                time = index.times[target]
                frame = next((f for f in frames if f.pts is None or f.pts >= time), None)
                if frame is None or frame.pts != time or frame.time_base is None:
                    return None
                try:
                    image = fit(to_rgb(frame), *self._shape[:2])
                except _NO_PICTURE:
                    return None
                seconds = float((time - index.times[0]) * frame.time_base)
                images[target] = Shown(image, seconds)
                position = target
        return images

    def _counted(self, wanted: set[int]) -> dict[int, Shown]:
        """Returns frames by counting from the start of the video."""
        images = {}
        for position, image in enumerate(self._images()):
            if position in wanted:
                images[position] = image
            if len(images) == len(wanted):
                return images
        missing = min(wanted - images.keys())
        raise VideoError(
            f"The index of {self._source} lists {len(self)} frames, but frame {missing} cannot be "
            "decoded. Repair it with: ffmpeg -i INPUT -c:v libx264 repaired.mp4"
        )


def _seconds(frame: VideoFrame, ticks: int | None) -> float | None:
    if ticks is None or frame.time_base is None:
        return None
    return float(ticks * frame.time_base)
