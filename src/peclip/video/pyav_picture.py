"""What a frame of PyAV becomes: a time and an upright RGB picture."""

from __future__ import annotations

from fractions import Fraction

import av.filter
import numpy as np
from av.video.frame import VideoFrame

from peclip.video.streaming import Image


class Clock:
    """Seconds from the first frame."""

    def __init__(self, frame_rate: float | None) -> None:
        self._step = 1 / frame_rate if frame_rate else 1 / 25
        self._start: float | None = None
        self._last: float | None = None

    def seconds(self, frame: VideoFrame) -> float:
        following = 0.0 if self._last is None else self._last + self._step
        if frame.pts is None or frame.time_base is None:
            self._last = following
            return following
        time = float(frame.pts * frame.time_base)
        if self._start is None:  # frames without a time may have come before
            self._start = time - following
        self._last = time - self._start
        return self._last


class ToRGB:
    """swscale's conversion to RGB as torchcodec has it: bicubic, the position of chroma ignored.

    `VideoFrame.reformat` differs from it by up to 130 levels at edges of 10-bit video, for it minds where
    the chroma samples lie; the scale filter with `flags=bicubic` gives equal bytes.
    """

    def __init__(self) -> None:
        self._graph = av.filter.Graph()
        self._layout: tuple[int, int, str] | None = None

    def __call__(self, frame: VideoFrame) -> Image:
        """Returns the upright picture, (H, W, 3)."""
        layout = (frame.width, frame.height, frame.format.name)
        if layout != self._layout:
            self._build(frame)
            self._layout = layout
        self._graph.push(frame)
        rgb = self._graph.pull()
        assert isinstance(rgb, VideoFrame)
        image = np.asarray(rgb.to_ndarray(), np.uint8)
        quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise
        return np.ascontiguousarray(np.rot90(image, quarter_turns))

    def _build(self, frame: VideoFrame) -> None:
        self._graph = graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 1000),
        )
        scale = graph.add("scale", "flags=bicubic")
        rgb = graph.add("format", "rgb24")
        sink = graph.add("buffersink")
        source.link_to(scale)
        scale.link_to(rgb)
        rgb.link_to(sink)
        graph.configure()
