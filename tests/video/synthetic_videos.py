"""Small synthetic videos, written with PyAV, so that the tests need neither FFmpeg nor other files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def pictures(count: int, width: int, height: int) -> np.ndarray:
    """A coloured gradient, still noise and a block that moves: (count, height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3))
    frames = np.empty((count, height, width, 3), np.uint8)
    for i in range(count):
        frame = (
            np.stack([255 * x / width, 255 * y / height, 255 - 255 * x / width], -1) * 0.7 + noise
        )
        left = (i * 3) % max(width - 8, 1)
        frame[height // 4 : height // 2, left : left + 8] = (255, 255 * (i % 2), 0)
        frames[i] = np.clip(frame, 0, 255)
    return frames


def write_video(
    path: Path,
    frames: np.ndarray | None = None,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times_ms: list[int] | None = None,
    rotation: int = 0,
    pixel_aspect: Fraction = Fraction(1),
    audio: bool = False,
    container_options: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Writes frames, 25 a second unless times in milliseconds are given."""
    frames = pictures(30, 64, 48) if frames is None else frames
    times_ms = [40 * i for i in range(len(frames))] if times_ms is None else times_ms
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=8000) if audio else None
        for image, time in zip(frames, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format=pix_fmt) if pix_fmt != "rgb24" else frame
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        if sound is not None:
            container.mux(sound.encode(silence()))
            container.mux(sound.encode(None))
        container.mux(stream.encode(None))
    return path


def silence() -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(
        np.zeros((1, 8000), np.float32), format="fltp", layout="mono"
    )
    frame.sample_rate = 8000
    return frame


def write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        container.mux(stream.encode(silence()))
        container.mux(stream.encode(None))
    return path
