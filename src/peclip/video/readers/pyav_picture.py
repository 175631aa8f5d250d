"""Converts a PyAV frame to an upright RGB image with square pixels."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import cast

import av.filter
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

from peclip.video.readers.orientation import Turner
from peclip.video.readers.streaming import MAX_PIXELS, Image

UNSAFE_FORMATS = frozenset({"yaf32be", "yaf32le"})
"""Float grey with alpha, as in EXR: swscale of FFmpeg 8 crashes the process on it."""

_LAST_KIND = max(cast("int", kind.value) for kind in Type)
_UNKNOWN_KINDS = range(_LAST_KIND + 1, _LAST_KIND + 9)
"""FFmpeg's numbers of kinds of side data that are newer than PyAV's list of them."""

_WIDEST = 4
"""Pixel aspect ratios beyond this are corrupt: the widest in use (half-width DVD, widescreen) is 2.9."""

_PICTURE_ASPECT = f"if(between(sar,1/{_WIDEST},{_WIDEST})*gt(abs(sar-1),0.01),sar,1)"
"""`valid_aspect` for a frame's own pixel aspect ratio, which PyAV does not expose."""


def valid_aspect(ratio: float) -> float:
    """Returns the pixel aspect ratio, or 1 if it is corrupt or within one percent of square.

    One percent is within the rounding error of the sides, and invisible.
    """
    return ratio if 1 / _WIDEST <= ratio <= _WIDEST and abs(ratio - 1) > 0.01 else 1.0


def display_matrix(frame: VideoFrame) -> bytes | None:
    """Returns the display matrix of a decoded frame: its own, which comes last, or the container's."""
    try:
        data = _side_data(frame)
    except ValueError:  # FFmpeg 8 attaches EXIF data, for example, which PyAV's list of kinds lacks
        data = _side_data(_without_unknown(frame))
    matrices = [data[i] for i in range(len(data)) if data[i].type is Type.DISPLAYMATRIX]
    return bytes(matrices[-1]) if matrices else None


def _side_data(frame: VideoFrame) -> SideDataContainer:
    return cast("SideDataContainer", frame.side_data)  # PyAV declares another type


def _without_unknown(frame: VideoFrame) -> VideoFrame:
    """Returns the frame without the kinds of side data that PyAV does not know."""
    graph = av.filter.Graph()
    time_base = frame.time_base or Fraction(1, 1000)
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=time_base
        ),
        *(graph.add("sidedata", f"mode=delete:type={kind}") for kind in _UNKNOWN_KINDS),
        graph.add("buffersink"),
    ]
    for node, following in itertools.pairwise(nodes):
        node.link_to(following)
    graph.configure()
    graph.push(frame)
    found = graph.pull()
    assert isinstance(found, VideoFrame)
    return found


class ToRGB:
    """Converts frames to RGB with swscale, as torchcodec does: bicubic, ignoring chroma positions.

    `VideoFrame.reformat` differs from it by up to 130 levels at edges of 10-bit video, because it considers chroma
    positions; the scale filter with `flags=bicubic` gives identical bytes.

    Args:
        pixel_aspect: a pixel's width divided by its height. The image is stretched in width or height, never
            shrunk, so that no detail is lost.
        varies: whether each frame has its own pixel aspect ratio, which is then used instead.
        turner: finds the orientation of each frame.
    """

    def __init__(self, pixel_aspect: float, varies: bool, turner: Turner) -> None:
        self._pixel_aspect = pixel_aspect
        self._varies = varies
        self._turner = turner
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
        return np.ascontiguousarray(self._turner.orientation(display_matrix(frame)).upright(image))

    def _build(self, frame: VideoFrame) -> None:
        width = round(frame.width * max(1.0, self._pixel_aspect))
        height = round(frame.height / min(1.0, self._pixel_aspect))
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"its frames are {width}x{height} in square pixels, which is too large"
            )
        size = f"{width}:{height}"
        # A picture may be larger than the first one, and the filter has no limit.
        if self._varies and frame.width * frame.height * _WIDEST <= MAX_PIXELS:
            aspect = _PICTURE_ASPECT
            size = f"'round(iw*max(1,{aspect}))':'round(ih/min(1,{aspect}))':eval=frame"
        self._graph = graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 1000),
        )
        scale = graph.add("scale", f"{size}:flags=bicubic")
        rgb = graph.add("format", "rgb24")
        sink = graph.add("buffersink")
        source.link_to(scale)
        scale.link_to(rgb)
        rgb.link_to(sink)
        graph.configure()
