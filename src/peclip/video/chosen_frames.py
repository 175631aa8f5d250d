"""Reads frames chosen from the number of frames, which damage may change while they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from peclip.errors import FrameCountError
from peclip.video.frames import Frames
from peclip.video.interface import VideoReader


def read_chosen(reader: VideoReader, choose: Callable[[int], Sequence[int]]) -> Frames:
    """Returns frames of a video.

    Args:
        reader: of the video.
        choose: returns the indices of the frames, given their number. It is called again if damage is found while
            the frames are read, and then with the number of frames that decode.

    Raises:
        VideoError: one of the frames cannot be decoded.
    """
    try:
        return reader.read(choose(len(reader)))
    except FrameCountError:
        return reader.read(choose(len(reader)))
