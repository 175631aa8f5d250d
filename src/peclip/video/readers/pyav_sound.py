"""The sound of a video file, decoded with PyAV in step with its frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from peclip.errors import is_bug
from peclip.video.readers.pyav_probe import open_container, packets_of, reason

LEAST_S = 0.1
"""Seconds of sound without which a span counts as silent; encoders cannot read less."""

_TOLERANCE_S = 0.01
"""Difference between the stamp of a frame and the end of the one before it, from which on there is a gap. Matroska and
Flash round stamps to milliseconds."""

_LEAST_RATE = 1000
"""Telephones have 8,000 samples per second. One packet of a file that claims one would become hours, in memory."""

_START = -(2**62)
"""A position before every sample."""

Block = tuple[int, NDArray[np.float32]]
"""The position of the first sample, counted from time 0, and the samples."""


class SoundReader:
    """Reads spans of the sound of a file, the mean of its channels, at another rate.

    Samples are placed by presentation time: gaps, and spans before the sound begins or after it ends, are zeros. Within
    a stretch without gaps, samples are counted. Memory is bounded by the longest span and one packet. Spans may
    overlap; a span before an earlier one makes the file be read again from the start.

    Damaged packets are gaps, and `problem` states them.

    Args:
        source: the file. Of several tracks, the first is read.
        rate: samples per second.
        origin_s: seconds from the start of the container to time 0, such as `VideoMetadata.start_s`.

    Raises:
        VideoError: it cannot be opened.
    """

    def __init__(self, source: Path, rate: int, *, origin_s: float = 0.0) -> None:
        self.rate, self._source, self._origin_s = rate, source, origin_s
        self.num_tracks = 0
        self.problem: str | None = None
        """Why sound is missing, as far as it has been read."""
        self._held: list[Block] = []
        self._reached = self._forgotten = _START
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    @property
    def duration_s(self) -> float | None:
        """Seconds from time 0 to the end of the container, according to its header."""
        duration = self._container.duration
        return None if duration is None else duration / av.time_base - self._origin_s

    def read(self, start_s: float, end_s: float) -> NDArray[np.float32] | None:
        """Returns the samples of a span, (N,), from -1 to 1; `None` if it has less than `LEAST_S` seconds of sound."""
        first, last = round(start_s * self.rate), round(end_s * self.rate)
        if first < self._forgotten:
            self.close()
            self._open()
        while self._reached < last and (block := next(self._blocks, None)) is not None:
            self._reached = block[0] + len(block[1])
            if self._reached > first:
                self._held.append(block)
        self._held = [block for block in self._held if block[0] + len(block[1]) > first]
        self._forgotten = first
        span, heard = np.zeros(max(0, last - first), np.float32), 0
        for begin, samples in self._held:
            left, right = max(begin, first), min(begin + len(samples), last)
            if right > left:
                span[left - first : right - first] = samples[left - begin : right - begin]
                heard += right - left
        return span if heard >= LEAST_S * self.rate else None

    def _open(self) -> None:
        self._container = open_container(self._source)
        self._held = []
        self._reached = self._forgotten = _START
        self._blocks: Iterator[Block] = iter(())
        tracks = self._container.streams.audio
        self.num_tracks = len(tracks)
        if not tracks:
            self.problem = "it has no sound"
        elif tracks[0].codec_context is None or not tracks[0].codec_context.sample_rate:
            self.problem = "its sound has an unsupported codec"
        elif tracks[0].codec_context.sample_rate < _LEAST_RATE:
            self.problem = f"its sound has fewer than {_LEAST_RATE} samples per second"
        else:
            start = self._container.start_time
            begin = 0.0 if start is None else start / av.time_base
            self._blocks = self._resampled(tracks[0], begin + self._origin_s)

    def _resampled(self, track: Any, origin: float) -> Iterator[Block]:
        """Yields the sound of a track in blocks that do not overlap.

        Args:
            track: the stream.
            origin: the stamp of time 0, in seconds.
        """
        reached = self._reached
        try:
            for begin, samples in self._stretches(track, origin):
                new = samples[max(0, reached - begin) :]  # stamps may go back
                if len(new):
                    reached = begin + len(samples)
                    yield reached - len(new), new
        except Exception as error:
            if is_bug(error):
                raise
            self.problem = f"its sound ends early ({reason(error)})"

    def _stretches(self, track: Any, origin: float) -> Iterator[Block]:
        """Yields the sound of a track stretch by stretch, as stamped."""
        stretch: _Stretch | None = None
        for frame in self._frames(track):
            pts, base = frame.pts, frame.time_base
            stamp = None if pts is None or base is None else float(pts * base) - origin
            if stretch is None:
                stretch = _Stretch(frame, stamp or 0.0, self.rate)
            elif not stretch.continues(frame, stamp):
                yield from stretch.finish()
                start = stretch.end_s if stamp is None else stamp
                stretch = _Stretch(frame, start, self.rate)
            yield from stretch.add(frame)
        if stretch is not None:
            yield from stretch.finish()

    def _frames(self, track: Any) -> Iterator[AudioFrame]:
        """Decodes a track past damaged packets."""
        for packet in packets_of(self._container, track):
            frames: list[Any] = []
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError) as error:
                self.problem = f"some of its sound is damaged ({reason(error)})"
            yield from frames


class _Stretch:
    """Sound without gaps, and in one format.

    Args:
        frame: its first.
        start_s: time of that.
        rate: of the output.
    """

    def __init__(self, frame: AudioFrame, start_s: float, rate: int) -> None:
        self._format, self._start_s = _format(frame), start_s
        self._read = 0
        self._position = round(start_s * rate)
        # Interleaved: PyAV crashes when it reads the planes of eight channels (7.1).
        self._resampler = av.AudioResampler("flt", frame.layout, rate)

    @property
    def end_s(self) -> float:
        """The time at which the samples so far end."""
        return self._start_s + self._read / self._format[2]

    def continues(self, frame: AudioFrame, stamp: float | None) -> bool:
        """Returns whether a frame follows without a gap."""
        near = stamp is None or abs(stamp - self.end_s) <= _TOLERANCE_S
        return near and _format(frame) == self._format

    def add(self, frame: AudioFrame) -> list[Block]:
        """Adds a frame; returns what can be resampled so far."""
        self._read += frame.samples
        frame.pts = None  # counted here
        return self._placed(self._resampler.resample(frame))

    def finish(self) -> list[Block]:
        """Returns the rest."""
        return self._placed(self._resampler.resample(None))

    def _placed(self, frames: list[AudioFrame]) -> list[Block]:
        blocks: list[Block] = []
        for frame in frames:
            # The mean of the channels: FFmpeg's own mix of floats may exceed 1.
            channels = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
            samples = np.clip(np.nan_to_num(channels.mean(1)), -1, 1)
            blocks.append((self._position, samples))
            self._position += len(samples)
        return blocks


def _format(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
