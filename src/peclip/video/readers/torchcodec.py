"""Decoding with torchcodec, whose tensors become numpy arrays without a copy.

The only file of `video` that imports it, and with it torch; and only on demand.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from peclip.errors import VideoError
from peclip.video.frames import Frames
from peclip.video.interface import VideoMetadata
from peclip.video.readers.clock import Clock
from peclip.video.readers.ffmpeg import MISSING
from peclip.video.readers.orientation import AS_STORED, Orientation, Turner
from peclip.video.readers.pyav import PyAVReader
from peclip.video.readers.pyav_changes import first_matrix
from peclip.video.readers.pyav_decoding import Decoding
from peclip.video.readers.pyav_probe import Probe, first_stamp
from peclip.video.readers.reference_frame import fit
from peclip.video.readers.streaming import (
    Image,
    ProcessBound,
    Shown,
    checked_indices,
    in_chunks,
    no_frames,
)

if TYPE_CHECKING:
    from torchcodec.decoders import VideoDecoder  # type: ignore[attr-defined]

logger = logging.getLogger(__name__)

EXACT_CONTAINERS = frozenset({"mov", "matroska", "avi", "gif"})
"""Containers in which torchcodec's seeking is exact.

In MPEG program and transport streams torchcodec 0.17 loses the first frames or all of them (it seeks to
time 0 after its scan, and such streams start later), and it cannot open raw streams.
"""

DECODING_ERRORS = (RuntimeError, ValueError, OSError, IndexError)
END = "no more frames left"
OTHER_SIZES = ("Expected pre-allocated tensor of shape", "Expected output tensor of shape")
"""The beginnings of errors at a frame of another size, in a batch or after turning it."""

_PAUSE_S = 10.0
"""After a longer pause that no frame duration explains, timestamps are considered wrong until PyAV confirms them."""


@functools.cache
def load_problem() -> str | None:
    """Returns why torchcodec cannot decode on this machine, `None` if it can."""
    try:
        import torchcodec
        import torchcodec.decoders  # versions before 0.17 fail here if there is no FFmpeg
    except (ImportError, OSError, RuntimeError) as error:
        return _reason(error)
    if getattr(torchcodec, "ffmpeg_major_version", 0) is None:
        return MISSING
    return None


def reads_exactly(source: Path | str, probe: Probe) -> bool:
    """Returns whether torchcodec gives every frame of a source.

    An address is left to PyAV as well: torchcodec reads the whole file before the first frame. So is a
    name that is not UTF-8, which torchcodec rejects, and a video with non-square pixels, which it returns
    as stored, and a video with a palette, whose frames it returns black.
    """
    text = not any("\ud800" <= character <= "\udfff" for character in str(source))
    known = probe.container in EXACT_CONTAINERS and probe.pixel_aspect == 1
    return isinstance(source, Path) and text and known and not probe.has_palette


class TorchcodecReader(ProcessBound):
    """Reads a video file with torchcodec on the CPU.

    `seek_mode="exact"` also for streaming: it reads all packets once without decoding them (0.1 s for ten
    minutes of 640x360), and the approximate mode computes times from the frame rate, which is wrong when
    the rate varies.

    Raises:
        VideoError: torchcodec does not read this file, or not exactly.
    """

    def __init__(self, source: Path | str, probe: Probe, *, num_threads: int = 0) -> None:
        super().__init__(str(source))
        self._source = source
        self._probe = probe
        if not reads_exactly(source, probe):
            raise VideoError(
                f"torchcodec cannot be used for {source} ({probe.container}, {probe.pixel_format}, pixel "
                f"aspect ratio {probe.pixel_aspect:.3g}): it is supported only for local MP4, MOV, Matroska, "
                "WebM, AVI and GIF files with square pixels and without a palette. Use the auto or pyav "
                "decoder."
            )
        from torchcodec.decoders import VideoDecoder  # type: ignore[attr-defined]

        try:
            # "file:" keeps a colon in a name from being read as a protocol.
            self._decoder: VideoDecoder | None = VideoDecoder(
                f"file:{source}",
                stream_index=probe.stream_index,
                dimension_order="NHWC",
                num_ffmpeg_threads=num_threads,
            )
            self._length = len(self._decoder)
            first = self._decoder.get_frame_at(0)
        except DECODING_ERRORS as error:
            raise VideoError(
                f"{source} cannot be opened with torchcodec: {_reason(error)}. If it is not damaged, "
                "use the auto or pyav decoder."
            ) from error
        start = self._decoder.metadata.begin_stream_seconds
        # Some files begin before time 0, where torchcodec does not seek: it starts at a later key frame.
        if start is None or abs(first.pts_seconds - start) > 1e-6:
            raise VideoError(
                f"torchcodec cannot decode {source} frame-accurately: it drops the first frames. Use the "
                "auto or pyav decoder."
            )
        self._start: float = start
        # torchcodec sorts the frames by their stamps: if the first one is late, it would come last or not at all.
        self._first_is_late = (first_stamp(source, probe) or start) > start + 1e-6
        self._num_threads = num_threads
        self._turner = Turner(self._name)
        self._orientation = self._left_to_turn(self._decoder)
        self._shape = self._upright(first.data.numpy()).shape

    @property
    def metadata(self) -> VideoMetadata:
        height, width, _ = self._shape
        probe = self._probe
        return VideoMetadata(
            width,
            height,
            probe.frame_rate,
            probe.duration_s,
            self._length,
            "torchcodec",
            start_s=probe.start_s(self._start),
        )

    def __len__(self) -> int:
        self._open_decoder()
        return len(self._pyav)

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        return in_chunks(self._images(self._open_decoder()), max_frames)

    def read(self, indices: Sequence[int]) -> Frames:
        decoder, index = self._open_decoder(), self._pyav.index
        # torchcodec sorts the frames by their stamps, which are wrong if these do not increase.
        if self._first_is_late or not index.exact or len(index) != self._length:
            return self._pyav.read(indices)
        chosen = checked_indices(indices, self._length, self._name)
        if not chosen:
            return no_frames(*self._shape[:2])
        try:
            batch = decoder.get_frames_at(chosen)
        except DECODING_ERRORS as error:
            # Damaged packets stop torchcodec; PyAV continues after them, like `chunks`. A change of size is
            # no damage, but a batch of several sizes fails as a whole.
            if not _is_other_size(error):
                self._warn(f"{_reason(error)}. Reading it with PyAV instead.")
            return self._pyav.read(chosen)
        images = self._upright(batch.data.numpy())
        if images.shape[1:] != self._shape:  # they have the size in the header, the first frame not
            images = np.stack([fit(image, *self._shape[:2]) for image in images])
        return Frames(images, batch.pts_seconds.double().numpy() - self._start)

    def close(self) -> None:
        self._decoder = None

    def _left_to_turn(self, decoder: VideoDecoder) -> Orientation:
        # torchcodec turns by the nearest quarter, but takes a mirror image for a turn. It does not mention
        # a matrix of zeros, which only MP4 and MOV can hold.
        rotation = decoder.metadata.rotation
        if rotation is None and self._probe.container != "mov":
            return AS_STORED
        matrix = first_matrix(self._source, self._probe)
        orientation = self._turner.orientation(matrix)
        quarters = math.floor(abs(rotation or 0) / 90 + 0.5)  # unlike round, 45 degrees are one
        return orientation.after_turning_back(quarters if (rotation or 0) > 0 else -quarters)

    def _upright(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns one picture or several, (..., H, W, 3)."""
        return np.ascontiguousarray(self._orientation.upright(pixels))

    def _open_decoder(self) -> VideoDecoder:
        self._check_process()
        if self._decoder is None:
            raise VideoError(f"{self._name} is closed. Open it again with open_video.")
        return self._decoder

    def _images(self, decoder: VideoDecoder) -> Iterator[Shown]:
        clock = Clock(self._name, self._probe.frame_rate)
        return itertools.starmap(Shown, clock.timed(self._pictures(decoder)))

    def _pictures(
        self, decoder: VideoDecoder
    ) -> Iterator[tuple[Image, float | None, float | None]]:
        """Yields frames with their time stamps and durations in seconds, or raises `Broken`.

        Frame by frame, since a failed batch is lost as a whole.
        """
        if self._first_is_late:
            yield from self._pyav.pictures()
            return
        index, before, expected = 0, -math.inf, self._start
        while index < self._length:
            try:
                frame = decoder.get_frame_at(index)
            except DECODING_ERRORS as error:
                if END in str(error):
                    break
                if not _is_other_size(error):
                    self._warn(f"{_reason(error)} (frame {index}). Reading the rest with PyAV.")
                yield from self._pyav.pictures(index)
                return
            stamp, duration = frame.pts_seconds, frame.duration_seconds
            if index == self._length - 1:
                duration = self._decoding.last_duration_s() or duration
            if index and not before < stamp < expected + _PAUSE_S:
                # torchcodec looks for frames by their stamps, and may repeat or leave out some.
                yield from self._pyav.pictures(index)
                return
            yield fit(self._upright(frame.data.numpy()), *self._shape[:2]), stamp, duration
            before, expected = stamp, stamp + duration
            index += 1
        if self._probe.missing_end is not None:
            yield from self._pyav.pictures(index)
        elif index < len(self):
            self._warn(
                f"torchcodec returned only {index} of {len(self)} frames. Reading the rest with PyAV."
            )
            yield from self._pyav.pictures(index)

    def _warn(self, text: str) -> None:
        logger.warning("%s: %s", self._name, text)

    @property
    def _decoding(self) -> Decoding:
        return Decoding(self._source, self._probe, self._num_threads)

    @functools.cached_property
    def _pyav(self) -> PyAVReader:
        """Reads what torchcodec does not, and lists the frames."""
        return PyAVReader(
            self._source, self._probe, num_threads=self._num_threads, turner=self._turner
        )


def _is_other_size(error: Exception) -> bool:
    return any(text in str(error) for text in OTHER_SIZES)


def _reason(error: Exception) -> str:
    """Returns the first line of an error, without the place in torchcodec's own source."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return re.sub(r"^.*\.cpp:\d+, ", "", line).rstrip(". ")
