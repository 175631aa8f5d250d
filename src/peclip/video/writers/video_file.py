"""Writes videos that browsers and slides play: MP4 with H.264 and the sound of the source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from peclip.errors import ConfigError, VideoError
from peclip.files import final_name
from peclip.video.faces import Image
from peclip.video.readers.pyav_probe import open_container, probe_container, reason, stream_of
from peclip.video.writers.sound import Sound

_FINEST = 1_000_000
"""Steps per second in which times are stored at most."""
_USUAL = 90_000

_BT709 = 1
"""Of primaries, transfer and matrix, in ITU-T H.273."""


class VideoFile:
    """A video file to which frames are written with their times; memory does not grow with it.

    Frames are encoded by libx264 as yuv420p, with the index at the front of the file. Odd sizes are
    padded to even ones by repeating the border.

    Args:
        path: of the file; it is MP4 whatever its extension.
        size: width and height of the frames in pixels.
        frame_rate: the average, for the rate control; times are exact whatever it is.
        steps: per second in which times are stored: those of the source keep its times exactly.
        sound: copied into the file.

    Raises:
        ConfigError: (from all methods) the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        *,
        frame_rate: float | None = None,
        steps: int | None = None,
        sound: Sound | None = None,
    ) -> None:
        self._steps = steps if steps is not None and 1000 <= steps <= _FINEST else _USUAL
        self._last = -1
        self._path, self._sound = path, sound
        self._reformatter = VideoReformatter()  # shared by the frames, since preparing one is slow
        with _writing(path):
            self._container = av.open(
                f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}
            )
            self._stream = self._add_stream(size, frame_rate)
            if sound is not None:
                sound.add_to(self._container)

    def _add_stream(self, size: tuple[int, int], frame_rate: float | None) -> VideoStream:
        rate = Fraction(frame_rate or 25).limit_denominator(1001)
        # Without B-frames, times of decoding equal those of display. With them, browsers get the
        # length of videos with a variable frame rate wrong.
        stream = self._container.add_stream(
            "libx264",
            rate=max(rate, Fraction(1)),
            options={"preset": "veryfast", "crf": "20", "bf": "0"},
        )
        stream.width, stream.height = (side + side % 2 for side in size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = Fraction(1, self._steps)
        context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
        context.color_primaries = context.color_trc = _BT709
        return stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._container.close()

    def write(self, image: Image, time: float, duration: float = 0.0) -> None:
        """Writes a frame (H, W, 3), RGB, with its time and the duration it is shown; 0 is unknown.

        Times are in seconds, at least 0, and rise.
        """
        height, width = image.shape[:2]
        if (height % 2, width % 2) != (0, 0):
            bottom, right = height % 2, width % 2
            image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(image, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts = self._last = max(round(time * self._steps), self._last + 1)
        frame.time_base = Fraction(1, self._steps)
        if duration > 0:
            frame.duration = max(1, round(duration * self._steps))
        with _writing(self._path):
            if self._sound is not None:
                self._sound.write_until(time)
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Writes the frames and the sound that are left, and completes the file."""
        with _writing(self._path):
            try:
                self._container.mux(self._stream.encode(None))
                if self._sound is not None:
                    self._sound.finish()
            finally:
                self._container.close()


def time_steps(source: object) -> int | None:
    """Returns the steps per second in which a video file stores its times; `None` for other sources."""
    if not isinstance(source, Path) or not source.is_file():
        return None
    try:
        with open_container(source) as container:
            stream = stream_of(probe_container(container, source), container, source)
            return None if stream.time_base is None else stream.time_base.denominator
    except VideoError:  # an image that FFmpeg does not know
        return None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise ConfigError(
            f"The video {str(path.with_name(final_name(path.name)))!r} cannot be written: "
            f"{reason(error)}. Choose a file in an existing, writable folder."
        ) from None
