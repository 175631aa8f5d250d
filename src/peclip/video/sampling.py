"""Which frames stand for a video: index arithmetic only.

The sampling of temporal segment networks (Wang et al., 2016), which every work on facial expressions
in video follows: cut the video into equal segments and take one frame of each.
"""

from __future__ import annotations

import itertools
from random import Random

from peclip.errors import ConfigError


def segment_indices(num_frames: int, num_segments: int) -> list[int]:
    """Returns the middle frame of each of `num_segments` equal segments, for evaluation.

    With `tick = num_frames / num_segments` the k-th index is `int(tick / 2 + tick * k)`. A video with
    fewer frames than segments gives all its frames, then its last one again and again, as in DFER-CLIP
    and PE-CLIP.

    Raises:
        ConfigError: a number is less than one.
    """
    return clip_indices(num_frames, num_segments, 1)


def clip_indices(num_frames: int, num_segments: int, clips: int) -> list[int]:
    """Returns the frames of several clips of a video one after the other, `num_segments` each.

    Clip j of n takes the frame at `(j + 1/2) / n` of each segment, so that one clip is `segment_indices`, and two take
    the frames at a quarter and at three quarters. All clips of a video with fewer frames than segments are the same.

    Raises:
        ConfigError: a number is less than one.
    """
    _check(num_frames, num_segments)
    if num_frames < num_segments:
        return _padded(num_frames, num_segments) * clips
    tick = num_frames / num_segments
    return [
        int(tick * (2 * clip + 1) / (2 * clips) + tick * k)
        for clip in range(clips)
        for k in range(num_segments)
    ]


def random_segment_indices(num_frames: int, num_segments: int, random: Random) -> list[int]:
    """Returns one random frame of each of `num_segments` equal segments, for training.

    A video with fewer frames than segments is padded as in `segment_indices`: there is no choice.

    Raises:
        ConfigError: a number is less than one.
    """
    _check(num_frames, num_segments)
    if num_frames < num_segments:
        return _padded(num_frames, num_segments)
    # Integers: segment k is [k * n // s, (k + 1) * n // s), so each frame is in exactly one segment,
    # regardless of float rounding.
    starts = [k * num_frames // num_segments for k in range(num_segments + 1)]
    return [start + random.randrange(stop - start) for start, stop in itertools.pairwise(starts)]


def _padded(num_frames: int, num_segments: int) -> list[int]:
    return [min(index, num_frames - 1) for index in range(num_segments)]


def _check(num_frames: int, num_segments: int) -> None:
    if num_frames < 1:
        raise ConfigError(
            f"Cannot sample from a video of {num_frames} frames; it must have 1 or more."
        )
    if num_segments < 1:
        raise ConfigError(
            f"Cannot divide a video into {num_segments} segments; the number must be 1 or more."
        )
