"""Converts a PyAV frame to an upright RGB picture with square pixels."""

from __future__ import annotations

from fractions import Fraction

import av.filter
import numpy as np
from av.video.frame import VideoFrame

from peclip.video.readers.streaming import MAX_PIXELS, Image

UNSAFE_FORMATS = frozenset({"yaf32be", "yaf32le"})
"""Float grey with alpha, as in EXR: swscale of FFmpeg 8 crashes the process on it."""


class ToRGB:
    """swscale's conversion to RGB as torchcodec has it: bicubic, the position of chroma ignored.

    `VideoFrame.reformat` differs from it by up to 130 levels at edges of 10-bit video, for it minds where
    the chroma samples lie; the scale filter with `flags=bicubic` gives equal bytes.

    Args:
        pixel_aspect: width of a pixel over its height. The picture is widened or heightened by it, so that
            nothing that was recorded is lost.
    """

    def __init__(self, pixel_aspect: float) -> None:
        self._pixel_aspect = pixel_aspect
        self._graph = av.filter.Graph()
        self._layout: tuple[int, int, str] | None = None

    def __call__(self, frame: VideoFrame) -> Image:
        """Returns the upright picture, (H, W, 3).

        Raises:
            ValueError: the pixel format would crash swscale, or the picture would be too large.
            FFmpegError: swscale does not support the pixel format.
        """
        if frame.format.name in UNSAFE_FORMATS:
            raise ValueError(f"the pixel format {frame.format.name} cannot be converted to RGB")
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
        width = round(frame.width * max(1.0, self._pixel_aspect))
        height = round(frame.height / min(1.0, self._pixel_aspect))
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"its frames are {width}x{height} in square pixels, which is too large"
            )
        self._graph = graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 1000),
        )
        scale = graph.add("scale", f"{width}:{height}:flags=bicubic")
        rgb = graph.add("format", "rgb24")
        sink = graph.add("buffersink")
        source.link_to(scale)
        scale.link_to(rgb)
        rgb.link_to(sink)
        graph.configure()
