"""Decodes the packets of a file with PyAV, past damaged ones, in the same way whatever the number of threads."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from peclip.video.readers.pyav_index import FrameIndex
from peclip.video.readers.pyav_probe import Probe, open_container, packets_of, reason, stream_of
from peclip.video.readers.streaming import MAX_PIXELS, Broken

Threads = Literal["AUTO", "SLICE"]


@dataclass(slots=True)
class PacketCounts:
    """The outcome of decoding the packets."""

    packets: int = 0
    frames: int = 0
    errors: int = 0
    late_errors: int = 0
    """Errors after the first frame; before it, the packets often belong to frames before the file's start."""
    end: int | None = None
    """The latest time of a packet, in units of the stream's time base."""
    last: int | None = None
    """The time of the last frame."""
    error: str | None = None
    final: Packet[VideoStream] | None = None
    """The last packet."""
    latest: Packet[VideoStream] | None = None
    """The packet that is shown last."""
    follow: bool = True
    """Whether each packet's duration is the time until the next packet is decoded."""

    def note_packet(self, packet: Packet[VideoStream]) -> None:
        if packet.size > 0 and not packet.is_discard:
            self.packets += 1
            if packet.pts is not None and (self.end is None or packet.pts >= self.end):
                self.end, self.latest = packet.pts, packet
            before, self.final = self.final, packet
            if before is not None and before.dts is not None:
                self.follow &= before.dts + (before.duration or 0) == packet.dts

    @property
    def last_duration(self) -> int:
        """How long the last frame is shown, in units of the stream's time base; 0 if unknown.

        MP4 has durations in decoding order: that of the last packet belongs to the frame that is shown last, which is
        an earlier packet if the frames are reordered.
        """
        packet = self.final if self.follow else self.latest
        return 0 if packet is None else packet.duration or 0

    def note_error(self, error: Exception) -> None:
        self.errors += 1
        self.late_errors += self.frames > 0
        self.error = reason(error)

    @property
    def failure(self) -> str | None:
        """Why the last frames are missing; `None` if they were decoded, whatever was skipped before."""
        came = self.last is not None and self.end is not None and self.last >= self.end
        return None if came else self.error


class Decoding:
    """Decodes a video stream; each call opens the file again.

    Args:
        source: a file or an address.
        probe: of it.
        num_threads: number of decoding threads; 0 uses all cores.
    """

    def __init__(self, source: Path | str, probe: Probe, num_threads: int) -> None:
        self._source, self._probe, self._num_threads = source, probe, num_threads
        self.damaged: FrameIndex | None = None
        """The number of frames, if all of them have been decoded and damage was found."""

    def frames(self, skipped: int = 0) -> Iterator[VideoFrame]:
        """Yields every frame.

        Threads that decode several frames at once lose others next to damaged packets, depending on their number.
        After an error, decoding therefore starts again without them and continues at the same frame.

        Args:
            skipped: number of frames to skip at the beginning.

        Raises:
            Broken: the frames end early.
        """
        count, errors = skipped, 0
        kinds: tuple[Threads, ...] = ("AUTO", "SLICE")
        for threads in kinds:
            counts = PacketCounts()
            with open_container(self._source) as container:
                frames = self.frames_from(container, self.stream(container, threads), counts)
                for frame in itertools.islice(frames, count, None):
                    if threads == "AUTO" and counts.late_errors:
                        break
                    count += 1
                    yield frame
                else:
                    # PyAV silently drops frames left in its threads if the last packets are damaged.
                    if counts.packets - counts.frames - counts.errors <= 0:
                        errors = counts.late_errors
                        break
                errors = counts.late_errors
        failure = counts.failure or self._probe.missing_end
        if failure is None and count == 0:
            failure = "its packets contain no frames"
        if failure is not None or errors:
            self.damaged = FrameIndex.of_damaged(count, failure)
        if failure is not None:
            raise Broken(failure)

    def times(self, limit: int | None) -> list[int | None]:
        """Returns the times of the first frames, or of all."""
        times: list[int | None] = []
        with contextlib.suppress(Broken):  # the frames before it count
            times.extend(frame.pts for frame in itertools.islice(self.frames(), limit))
        return times

    def last_duration_s(self) -> float | None:
        """Returns how long the last frame is shown, in seconds, from the packets; `None` if unknown."""
        counts = PacketCounts()
        with (
            open_container(self._source) as container,
            contextlib.suppress(av.FFmpegError, OSError),
        ):
            stream = stream_of(self._probe, container, self._source)
            for packet in packets_of(container, stream):
                counts.note_packet(packet)
            if stream.time_base is not None and counts.last_duration:
                return float(counts.last_duration * stream.time_base)
        return None

    def stream(self, container: InputContainer, threads: Threads) -> VideoStream:
        """Returns the probed stream of an open file, ready to decode."""
        stream = stream_of(self._probe, container, self._source)
        stream.thread_type = threads
        stream.codec_context.thread_count = self._num_threads
        # The size may also change after the header.
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return stream

    def frames_from(
        self, container: InputContainer, stream: VideoStream, counts: PacketCounts
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
            at_end = packet is None or packet.size == 0
            if at_end and decoded and counts.final is not counts.latest:
                decoded[-1].duration = counts.last_duration
            for frame in decoded:
                counts.frames += 1
                counts.last = frame.pts
                yield frame
            if packet is None:
                return
            counts.note_packet(packet)
