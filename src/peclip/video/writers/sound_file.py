"""The sound of a video as a file of its own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from peclip.files import replacing
from peclip.video.reader import open_video
from peclip.video.sound import find_sound, open_sound

RATE = 48_000
"""Samples per second, the highest rate of the supported audio encoders."""


def write_sound(source: Path, target: Path) -> bool:
    """Writes the sound of a video from its first frame on, mono in 16 bits (FLAC); gaps become zeros.

    Args:
        source: a video.
        target: a `.flac` file, written only if there is sound.

    Returns:
        Whether there is.

    Raises:
        VideoError: the video cannot be read.
        OSError: the file cannot be written.
    """
    file = find_sound(source)
    if file is None:
        return False
    with open_video(source, num_threads=1) as video:
        start_s, duration_s = video.metadata.start_s, video.metadata.duration_s
    with open_sound(file, RATE, origin_s=start_s) as sound:
        seconds = int(np.ceil(duration_s or sound.duration_s or 0.0))
        heard = False
        with replacing(target) as partial, av.open(str(partial), "w", format="flac") as container:
            stream = container.add_stream("flac", rate=RATE)
            stream.layout = "mono"
            for second in range(seconds):
                samples = sound.read(second, min(second + 1, duration_s or seconds))
                heard |= samples is not None
                if samples is None:
                    samples = np.zeros(RATE, np.float32)
                whole = np.round(samples * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(whole[None], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = (
                    RATE,
                    second * RATE,
                    Fraction(1, RATE),
                )
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    if not heard:
        target.unlink()
    return heard
