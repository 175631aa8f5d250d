"""Decoding with PyAV, which bundles FFmpeg: no installation, nearly as fast."""

from __future__ import annotations

import bisect
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
from av.video.frame import VideoFrame

from peclip.errors import FrameCountError, VideoError
from peclip.video.frames import Frames
from peclip.video.interface import VideoMetadata
from peclip.video.readers.clock import Clock
from peclip.video.readers.orientation import Turner
from peclip.video.readers.pyav_decoding import Decoding, PacketCounts
from peclip.video.readers.pyav_index import (
    FrameIndex,
    decoded_index,
    packet_index,
    remember,
    remembered,
    version_of,
)
from peclip.video.readers.pyav_picture import ToRGB
from peclip.video.readers.pyav_probe import Probe, open_container, packets_of, reason
from peclip.video.readers.reference_frame import fit
from peclip.video.readers.streaming import (
    Broken,
    Closing,
    Image,
    Shown,
    checked_indices,
    in_chunks,
    no_frames,
    to_frames,
)

logger = logging.getLogger(__name__)

_COMPARED = 3
"""Number of decoded frames whose times are compared with the packets'; two reveal separately stored fields."""

_NO_PICTURE = (av.FFmpegError, OSError, ValueError)


class PyAVReader(Closing):
    """Reads a video with PyAV. It holds nothing open between two calls.

    Args:
        source: a file or an address.
        probe: what its headers state.
        num_threads: of the decoder; 0 lets FFmpeg choose.
        turner: of another reader of the same video, so that a warning comes once.

    Raises:
        VideoError: no frame can be decoded.
    """

    def __init__(
        self,
        source: Path | str,
        probe: Probe,
        *,
        num_threads: int = 0,
        turner: Turner | None = None,
    ) -> None:
        self._source = source
        self._probe = probe
        self._decoding = Decoding(source, probe, num_threads)
        self._index: FrameIndex | None = None
        self._keys: set[int] = set()  # the times of the packets at which decoding can start
        self._turner = turner or Turner(str(source))
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
            failure=self._index.failure if self._index is not None else probe.missing_end,
        )

    def __len__(self) -> int:
        return len(self.index)

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        return in_chunks(self._images(), max_frames)

    def read(self, indices: Sequence[int]) -> Frames:
        chosen = checked_indices(indices, len(self), str(self._source))
        if not chosen:
            return no_frames(self._shape[0], self._shape[1])
        wanted = sorted(set(chosen))
        images = self._sought(wanted) if self._can_seek(wanted[0]) else self._counted(wanted)
        if images is None:
            self._check_count()
            images = self._counted(wanted)
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
        for frame in self._decoding.frames(skipped):
            try:
                image = to_rgb(frame)
            except _NO_PICTURE as error:
                raise Broken(reason(error)) from error
            reference = reference or image.shape
            image = fit(image, *reference[:2])
            yield image, _seconds(frame, frame.pts), _seconds(frame, frame.duration)

    @property
    def index(self) -> FrameIndex:
        """The index of the frames that decode, as far as is known: damage is found by decoding."""
        if self._decoding.damaged is not None and not self._index_is_decoded:
            self._set_index(self._decoding.damaged)
        if self._index is None:
            self._index = remembered(version_of(self._source)) or self._listed() or self._decoded()
        return self._index

    @property
    def _index_is_decoded(self) -> bool:
        return self._index is not None and self._index.decoded

    def _set_index(self, index: FrameIndex) -> FrameIndex:
        self._index = index
        remember(version_of(self._source), index)
        return index

    def _listed(self) -> FrameIndex | None:
        """Returns the index of the packets; `None` if decoding gives other frames, as far as that is cheap to see."""
        with open_container(self._source) as container:
            stream = self._decoding.stream(container, "SLICE")
            listed = packet_index(stream, packets_of(container, stream))
        self._keys = {listed.times[key] for key in listed.keys}
        whole = self._probe.missing_end is None and not self._probe.is_raw
        compared = whole and listed.certain and listed.begins(self._decoding.times(_COMPARED))
        return listed if compared else None

    def _decoded(self) -> FrameIndex:
        """Returns the index of the frames that decode, and remembers it."""
        stamps = self._decoding.times(None)
        damaged = self._decoding.damaged
        if damaged is not None and damaged.failure is not None:
            logger.warning(
                "%s: decoding stops after frame %d: %s. Only the frames before it are used.",
                self._source,
                len(damaged),
                damaged.failure,
            )
        return self._set_index(damaged or decoded_index(stamps, self._keys))

    def _check_count(self) -> None:
        """Counts the frames again after one of them was not where the packets put it.

        Raises:
            FrameCountError: there are more or fewer than before.
        """
        if self._index_is_decoded:
            return
        before = len(self.index)
        now = len(self._decoded())
        if now != before:
            raise FrameCountError(
                f"{self._source} is damaged: it has {before} frames in its packets, but {now} can be decoded. "
                f"Choose frames from 0 to {now - 1}, or repair it with: ffmpeg -i INPUT -c:v libx264 repaired.mp4"
            )

    def _can_seek(self, first: int) -> bool:
        """Returns whether frames from `first` on can be found by their times."""
        index = self.index
        known = index.exact and len(index.keys) > 0 and first >= index.keys[0]
        return known and not self._probe.has_palette

    def _sought(self, wanted: list[int]) -> dict[int, Shown] | None:
        """Returns frames by way of seeking, or `None` if that does not find each by its exact time, undamaged."""
        index, to_rgb = self.index, self._to_rgb()
        images: dict[int, Shown] = {}
        position = -1
        frames: Iterator[VideoFrame] = iter(())
        counts = PacketCounts()
        start = 0
        with open_container(self._source) as container:
            stream = self._decoding.stream(container, "AUTO")
            for target in wanted:
                key = index.keys[bisect.bisect_right(index.keys, target) - 1]
                if key > position:  # cheaper than decoding all that is between
                    try:
                        container.seek(index.times[key], stream=stream)
                    except (av.FFmpegError, OSError):
                        return None
                    start = index.times[key]
                    frames = self._decoding.frames_from(container, stream, counts)
                time = index.times[target]
                frame = _frame_at(frames, time, start)
                if frame is None or frame.time_base is None or counts.errors:
                    return None
                try:
                    image = fit(to_rgb(frame), *self._shape[:2])
                except _NO_PICTURE:
                    return None
                seconds = float((time - index.times[0]) * frame.time_base)
                images[target] = Shown(image, seconds)
                position = target
        return images

    def _counted(self, wanted: list[int]) -> dict[int, Shown]:
        """Returns frames by counting from the start of the video."""
        images = {}
        for position, image in enumerate(self._images()):
            if position in wanted:
                images[position] = image
            if len(images) == len(wanted):
                return images
        missing = min(set(wanted) - images.keys())
        raise VideoError(
            f"The index of {self._source} lists {len(self)} frames, but frame {missing} cannot be "
            "decoded. Repair it with: ffmpeg -i INPUT -c:v libx264 repaired.mp4"
        )


def _frame_at(frames: Iterator[VideoFrame], time: int, start: int) -> VideoFrame | None:
    """Returns the frame at a time, `None` if there is none or one from `start` on is corrupt."""
    for frame in frames:
        # Frames before the key frame may lack those that they refer to.
        if frame.pts is None or (frame.pts >= start and frame.is_corrupt):
            return None
        if frame.pts >= time:
            return frame if frame.pts == time else None
    return None


def _seconds(frame: VideoFrame, ticks: int | None) -> float | None:
    if ticks is None or frame.time_base is None:
        return None
    return float(ticks * frame.time_base)
