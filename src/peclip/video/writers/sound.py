"""The sound of a video file, copied into another file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from peclip.errors import VideoError
from peclip.video.readers.pyav_probe import open_container, reason

logger = logging.getLogger(__name__)

COPIED = frozenset({"aac", "flac", "mp3", "opus"})
"""Codecs that MP4 can hold and browsers play; others are encoded as AAC."""

_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
"""Samples per second that AAC has."""


class Sound:
    """Copies the sound of a file into a container, packet by packet and with its times.

    Sound that cannot be read or written is left out from there on, with a warning.

    Args:
        source: a video file. A file without sound gives none.
        origin: seconds from the start of the source's container to time 0 of the output. Sound before it is
            left out, unless it is 0.
        end: sound from this time on is left out, in seconds of the output.
    """

    def __init__(self, source: Path, *, origin: float, end: float) -> None:
        self._source, self._end = source, end
        self._input = open_container(source)
        begin = 0.0 if self._input.start_time is None else self._input.start_time / av.time_base
        self._shift, self._first = begin + origin, -1e9 if origin == 0 else 0.0
        self._outputs: dict[int, tuple[AudioStream, bool]] = {}
        self._last: dict[int, int] = {}
        self._packets: Iterator[Packet[Any]] = iter(())
        self._waiting: Packet[Any] | None = None
        self._output: OutputContainer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._input.close()

    def add_to(self, output: OutputContainer) -> None:
        """Adds the streams to a container, before anything is written to it."""
        self._output = output
        for stream in self._input.streams.audio:
            context = stream.codec_context
            if context is None or not context.sample_rate:
                continue
            copied = context.codec.canonical_name in COPIED
            if copied:
                target = output.add_stream_from_template(stream)
            else:
                rate = context.sample_rate if context.sample_rate in _RATES else 48_000
                target = output.add_stream("aac", rate=rate)
                target.layout = "mono" if context.channels == 1 else "stereo"
            self._outputs[stream.index] = target, copied
        if self._outputs:
            kept = [stream for stream in self._input.streams.audio if stream.index in self._outputs]
            self._packets = self._input.demux(*kept)

    def write_until(self, time: float) -> None:
        """Writes the sound up to a time of the output, in seconds."""
        if self._output is None:
            return
        try:
            while (packet := self._next()) is not None:
                start = self._time(packet)
                if start >= min(time, self._end):
                    self._waiting = packet
                    return
                if start >= self._first:
                    self._write(packet)
        except (av.FFmpegError, ValueError) as error:
            self._packets = iter(())
            logger.warning(
                "%s: part of the sound is left out, because it cannot be read or written: %s.",
                self._source,
                reason(error),
            )

    def finish(self) -> None:
        """Writes the rest of the sound, up to the end."""
        self.write_until(self._end)
        for target, copied in self._outputs.values():
            if not copied and self._output is not None:
                self._output.mux(target.encode(None))

    def _next(self) -> Packet[Any] | None:
        packet, self._waiting = self._waiting, None
        while packet is None:
            packet = next(self._packets, None)
            if packet is None:
                return None
            if packet.pts is None or not packet.size:
                packet = None
        return packet

    def _time(self, packet: Packet[Any]) -> float:
        assert packet.pts is not None
        return float(packet.pts * packet.time_base) - self._shift

    def _write(self, packet: Packet[Any]) -> None:
        assert self._output is not None
        target, copied = self._outputs[packet.stream.index]
        shift = round(self._shift / packet.time_base)
        if copied:
            pts, dts = packet.pts, packet.dts
            assert pts is not None
            packet.pts = pts - shift
            packet.dts = packet.pts if dts is None else dts - shift
            if packet.dts <= self._last.get(packet.stream.index, packet.dts - 1):
                return  # a repeated stamp, which no container accepts
            self._last[packet.stream.index] = packet.dts
            packet.stream = target
            self._output.mux(packet)
            return
        for frame in cast(list[AudioFrame], packet.decode()):
            frame.pts = None if frame.pts is None else frame.pts - shift
            self._output.mux(target.encode(frame))


def open_sound(source: object, *, origin: float, end: float) -> Sound | None:
    """Opens the sound of a source; `None` for sources that are not files with sound."""
    if not isinstance(source, Path) or not source.is_file():
        return None
    try:
        sound = Sound(source, origin=origin, end=end)
    except VideoError:  # an image that FFmpeg does not know
        return None
    return sound
