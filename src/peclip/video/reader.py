"""`open_video` picks a reader by the kind of the source, and a decoder for files.

Both decoders give the same frames at the same times, as `tests/video/test_reader.py` verifies, in the same CPU
time (docs/performance.md). PyAV is the default: it bundles FFmpeg, and importing torchcodec takes as long as torch.
"""

from __future__ import annotations

import logging
import operator
import os
from pathlib import Path
from typing import Any, SupportsIndex, get_args

import numpy as np
from numpy.typing import NDArray

from peclip.downloads.address import without_password
from peclip.errors import ConfigError, DeviceError, source_errors
from peclip.literals import DecoderName
from peclip.video.animation_chunks import is_animation, is_gif
from peclip.video.frames import Frames, TensorLike, is_tensor
from peclip.video.interface import DEFAULT_LIVE_OPTIONS, LiveOptions, VideoReader
from peclip.video.readers.guarded import GuardedReader
from peclip.video.sources import IMAGE_SUFFIXES, is_address, is_live_address

logger = logging.getLogger(__name__)


def open_video(
    source: Path | str | int | NDArray[Any] | TensorLike | Frames,
    *,
    decoder: DecoderName = "auto",
    frame_rate: float = 25.0,
    num_threads: int = 0,
    live: LiveOptions = DEFAULT_LIVE_OPTIONS,
) -> VideoReader:
    """Opens a source of frames.

    Args:
        source: a video file, an image file, a folder of images, an http(s) or rtsp(s) URL, the index of a
            camera, a numpy array (T, H, W, 3), a tensor (T, 3, H, W) or `Frames`; uint8 RGB.
        decoder: `auto` is PyAV. torchcodec requires an installed FFmpeg, and a local file in a container that
            it decodes exactly (MP4, MOV, Matroska, WebM, AVI, GIF, with square pixels). `metadata.decoder` states
            the decoder used.
        frame_rate: frames per second for images and arrays, which have no timestamps.
        num_threads: number of decoding threads; 0 uses all cores, and 1 is best in worker processes.
        live: timeout and reconnection settings for live sources.

    Raises:
        VideoError: the source does not exist or is not a video.
        DeviceError: the camera or the decoder is not available on this machine.
        ConfigError: the decoder is unknown, or an array has the wrong type or shape.
    """
    if decoder not in get_args(DecoderName):
        accepted = ", ".join(get_args(DecoderName))
        raise ConfigError(f"Unknown decoder {decoder!r}; choose one of {accepted}.")
    if isinstance(source, np.ndarray | Frames) or is_tensor(source):
        from peclip.video.readers.array import ArrayReader

        return ArrayReader(source, frame_rate=frame_rate)
    if isinstance(source, bool) or not isinstance(source, SupportsIndex | str | Path):
        raise ConfigError(
            f"Unsupported source of type {type(source).__name__}. Use a path, an http(s) URL, a "
            "webcam index, a numpy array (T, H, W, 3), a tensor (T, 3, H, W) or Frames."
        )
    if source == "":
        raise ConfigError("The name of the source is empty. Use a path or an http(s) URL.")
    if isinstance(source, SupportsIndex):
        source = operator.index(source)  # numpy's whole numbers too
    name = without_password(str(source))
    with source_errors(name):
        reader = _open(source, decoder, frame_rate, num_threads, live)
    return GuardedReader(reader, name)


def _open(
    source: Path | str | int,
    decoder: DecoderName,
    frame_rate: float,
    num_threads: int,
    live: LiveOptions,
) -> VideoReader:
    if isinstance(source, int):
        from peclip.video.readers.camera import CameraReader

        return CameraReader(source)
    source = source if isinstance(source, Path) or is_address(source) else Path(source)
    if isinstance(source, str) and (live.expected or is_live_address(source)):
        return _open_live(source, num_threads, live)
    images = None if isinstance(source, str) else _open_images(source, frame_rate)
    return _open_file(source, decoder, num_threads, live) if images is None else images


def _open_images(path: Path, frame_rate: float) -> VideoReader | None:
    """Opens an animated image, an image or a folder of images; `None` for other files."""
    if is_animation(path):
        from peclip.video.readers.animation import Animation

        return Animation(path)
    if _is_images(path):
        from peclip.video.readers.frame_folder import FrameFolder

        return FrameFolder(path, frame_rate=frame_rate)
    return None


def _is_images(path: Path) -> bool:
    # os.path, since Path.is_dir raises where a folder above may not be entered or a name is too long.
    return os.path.isdir(path) or (path.suffix.lower() in IMAGE_SUFFIXES and not is_gif(path))


def check_decoder(decoder: DecoderName) -> None:
    """Checks that a decoder can be used on this machine.

    Raises:
        DeviceError: torchcodec was requested but cannot be used.
    """
    if decoder != "torchcodec":
        return
    from peclip.video.readers import ffmpeg, torchcodec

    problem = ffmpeg.torchcodec_state()[1] or torchcodec.load_problem()
    if problem is not None:
        raise DeviceError(
            f"torchcodec cannot be used: {problem}. Install FFmpeg (apt install ffmpeg, brew "
            "install ffmpeg or conda install -c conda-forge ffmpeg), or use the pyav decoder, "
            "which does not need it."
        )


def _open_live(address: str, num_threads: int, live: LiveOptions) -> VideoReader:
    from peclip.video.readers.live import LiveReader

    return LiveReader(address, live, num_threads=num_threads)


def _open_file(
    source: Path | str, decoder: DecoderName, num_threads: int, live: LiveOptions
) -> VideoReader:
    from peclip.video.readers import pyav, pyav_changes, pyav_probe

    check_decoder(decoder)
    probe = pyav_probe.probe(source)
    if isinstance(source, str) and probe.container in pyav_probe.LIVE_CONTAINERS:
        return _open_live(source, num_threads, live)
    if decoder != "torchcodec":
        return pyav.PyAVReader(source, probe, num_threads=num_threads)
    from peclip.video.readers import torchcodec

    if torchcodec.reads_exactly(source, probe):
        assert isinstance(source, Path)
        changes = pyav_changes.hidden_changes(source, probe)
        if changes is not None:
            logger.warning("%s: %s. Reading it with PyAV instead.", source, changes)
            return pyav.PyAVReader(source, probe, num_threads=num_threads)
    return torchcodec.TorchcodecReader(source, probe, num_threads=num_threads)
