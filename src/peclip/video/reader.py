"""`open_video` picks a reader by the kind of the source, and a decoder for files.

Both decoders give the same frames at the same times, as `tests/video/test_reader.py` verifies.
torchcodec is faster, but needs an installed FFmpeg; PyAV bundles one.
"""

from __future__ import annotations

import logging
import operator
import os
from pathlib import Path
from typing import Any, SupportsIndex, get_args

import numpy as np
from numpy.typing import NDArray

from peclip.errors import ConfigError, DeviceError, VideoError
from peclip.literals import DecoderName
from peclip.video.frames import Frames, TensorLike, is_tensor
from peclip.video.interface import VideoReader
from peclip.video.sources import IMAGE_SUFFIXES, is_address

logger = logging.getLogger(__name__)


def open_video(
    source: Path | str | int | NDArray[Any] | TensorLike | Frames,
    *,
    decoder: DecoderName = "auto",
    frame_rate: float = 25.0,
    num_threads: int = 0,
) -> VideoReader:
    """Opens a source of frames.

    Args:
        source: a video file, an image file, a folder of images, an http(s) URL, the index of a
            camera, a numpy array (T, H, W, 3), a tensor (T, 3, H, W) or `Frames`; uint8 RGB.
        decoder: `auto` is torchcodec where its FFmpeg is there and it reads the container exactly (MP4,
            MOV, Matroska, WebM, AVI, GIF, with square pixels), else PyAV; a file that torchcodec cannot
            open is given to PyAV, which is logged. `metadata.decoder` says which one it is.
        frame_rate: frames per second of images and arrays, which have no times.
        num_threads: threads for decoding, 0 for as many as there are cores; 1 is best in workers.

    Raises:
        VideoError: the source does not exist or is not a video.
        DeviceError: the camera or the decoder is not on this machine.
        ConfigError: an unknown decoder, an array of another type or shape.
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
        from peclip.video.readers.camera import CameraReader

        return CameraReader(source)
    source = source if isinstance(source, Path) or is_address(source) else Path(source)
    if isinstance(source, Path) and _is_images(source):
        from peclip.video.readers.frame_folder import FrameFolder

        return FrameFolder(source, frame_rate=frame_rate)
    return _open_file(source, decoder, num_threads)


def _is_images(path: Path) -> bool:
    # os.path, since Path.is_dir raises where a folder above may not be entered or a name is too long.
    return os.path.isdir(path) or path.suffix.lower() in IMAGE_SUFFIXES


def available_decoders() -> dict[str, str]:
    """Returns the decoders that work on this machine, with their versions, best first."""
    from peclip.video.readers import pyav_probe, torchcodec

    decoders = {"pyav": pyav_probe.version()}
    if torchcodec.load_problem() is None:
        decoders = {"torchcodec": torchcodec.version(), **decoders}
    return decoders


def check_decoder(decoder: DecoderName) -> str | None:
    """Returns the reason torchcodec cannot be used, if `decoder` would use it.

    Raises:
        DeviceError: torchcodec was requested but cannot be used.
    """
    from peclip.video.readers import torchcodec

    problem = torchcodec.load_problem() if decoder != "pyav" else None
    if decoder == "torchcodec" and problem is not None:
        raise DeviceError(
            f"torchcodec cannot be used: {problem}. Install FFmpeg (apt install ffmpeg, brew "
            "install ffmpeg or conda install -c conda-forge ffmpeg), or use the decoder pyav, "
            "which does not need it."
        )
    return problem


def _open_file(source: Path | str, decoder: DecoderName, num_threads: int) -> VideoReader:
    from peclip.video.readers import pyav, pyav_changes, pyav_probe, torchcodec

    problem = check_decoder(decoder)
    probe = pyav_probe.probe(source)
    if decoder == "pyav" or problem is not None:
        return pyav.PyAVReader(source, probe, num_threads=num_threads)
    if decoder == "auto" and not torchcodec.reads_exactly(source, probe):
        return pyav.PyAVReader(source, probe, num_threads=num_threads)
    if torchcodec.reads_exactly(source, probe):
        assert isinstance(source, Path)
        changes = pyav_changes.hidden_changes(source, probe)
        if changes is not None:
            if decoder == "torchcodec":
                logger.warning("%s: %s. Reading it with PyAV instead.", source, changes)
            return pyav.PyAVReader(source, probe, num_threads=num_threads)
    try:
        return torchcodec.TorchcodecReader(source, probe, num_threads=num_threads)
    except VideoError as error:
        if decoder == "torchcodec":
            raise
        logger.warning("%s Reading it with PyAV instead.", error)
        return pyav.PyAVReader(source, probe, num_threads=num_threads)
