"""One interface to every source of frames, and `open_video`, which picks a reader by type.

Both decoders give the same frames at the same times; `tests/video/test_reader.py` holds them to it.
torchcodec is the faster one, but needs an FFmpeg on the machine; PyAV brings its own.
"""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, SupportsIndex, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from peclip.errors import ConfigError, DeviceError, VideoError
from peclip.literals import DecoderName
from peclip.types import Frames
from peclip.video.sources import IMAGE_SUFFIXES, is_address

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VideoMetadata:
    """What is known of a video before it is decoded."""

    width: int
    """Pixels of the upright frame."""
    height: int
    """Pixels of the upright frame."""
    frame_rate: float | None
    """Average, frames per second."""
    duration_s: float | None
    num_frames: int | None
    """As the container says, which may be a little off; `len(reader)` is exact."""
    decoder: str
    """`torchcodec`, `pyav`, `images`, `array` or `camera`."""


class VideoReader(Protocol):
    """A source of upright RGB frames with square pixels.

    Use it in a `with` statement, in the process that opened it.
    """

    @property
    def metadata(self) -> VideoMetadata: ...

    def __len__(self) -> int:
        """Number of frames, counted from the packets of the file. Raises TypeError for a camera."""
        ...

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        """Streams all frames in order, at most `max_frames` and 64 MiB at a time.

        Times are presentation times minus that of the first frame, never a number of frames divided by a
        rate; only a frame without a time after the previous one's (or years after it) follows that one by
        the average duration of a frame. So times always rise.
        Damaged packets are skipped as players do.

        Raises:
            VideoError: nothing can be decoded from some point on; what could be was yielded before.
        """
        ...

    def read(self, indices: Sequence[int]) -> Frames:
        """Returns the frames of these indices, in their order, repeats included.

        Raises:
            IndexError: an index is not in 0 to `len - 1`.
            VideoError: one of the frames cannot be decoded.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def open_video(
    source: Path | str | int | NDArray[Any] | Tensor | Frames,
    *,
    decoder: DecoderName = "auto",
    frame_rate: float = 25.0,
    num_threads: int = 0,
) -> VideoReader:
    """Opens a source of frames.

    Args:
        source: a video file, an image file, a folder of images, an http(s) address, the number of a
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
        raise ConfigError(f"The decoder {decoder!r} is not known. Accepted are {accepted}.")
    if isinstance(source, np.ndarray | Tensor | Frames):
        from peclip.video.array_reader import ArrayReader

        return ArrayReader(source, frame_rate=frame_rate)
    if isinstance(source, bool) or not isinstance(source, SupportsIndex | str | Path):
        raise ConfigError(
            f"{type(source).__name__} is no source of frames. Accepted are a path, an http(s) address, the "
            "number of a camera, a numpy array (T, H, W, 3), a tensor (T, 3, H, W) and Frames."
        )
    if source == "":
        raise ConfigError("The name of the source is empty. Give a path, or an http(s) address.")
    if isinstance(source, SupportsIndex):
        source = operator.index(source)  # numpy's whole numbers too
        from peclip.video.camera import CameraReader

        return CameraReader(source)
    source = source if isinstance(source, Path) or is_address(source) else Path(source)
    # os.path, since Path.is_dir raises where a folder above may not be entered or a name is too long.
    if isinstance(source, Path) and (
        os.path.isdir(source) or source.suffix.lower() in IMAGE_SUFFIXES
    ):
        from peclip.video.frame_folder import FrameFolder

        return FrameFolder(source, frame_rate=frame_rate)
    return _open_file(source, decoder, num_threads)


def available_decoders() -> dict[str, str]:
    """Returns the decoders that work on this machine, with their versions, best first."""
    from peclip.video import pyav_probe, torchcodec_reader

    decoders = {"pyav": pyav_probe.version()}
    if torchcodec_reader.load_problem() is None:
        decoders = {"torchcodec": torchcodec_reader.version(), **decoders}
    return decoders


def check_decoder(decoder: DecoderName) -> str | None:
    """Returns what keeps torchcodec from being used, where it is not left out anyway.

    Raises:
        DeviceError: torchcodec was asked for by name, and cannot be used.
    """
    from peclip.video import torchcodec_reader

    problem = torchcodec_reader.load_problem() if decoder != "pyav" else None
    if decoder == "torchcodec" and problem is not None:
        raise DeviceError(
            f"torchcodec cannot be used: {problem}. Install FFmpeg (apt install ffmpeg, brew install ffmpeg"
            " or conda install -c conda-forge ffmpeg), or use the decoder pyav, which needs none."
        )
    return problem


def _open_file(source: Path | str, decoder: DecoderName, num_threads: int) -> VideoReader:
    from peclip.video import pyav_probe, pyav_reader, torchcodec_reader

    problem = check_decoder(decoder)
    probe = pyav_probe.probe(source)
    if decoder == "pyav" or problem is not None:
        return pyav_reader.PyAVReader(source, probe, num_threads=num_threads)
    if decoder == "auto" and not torchcodec_reader.reads_exactly(source, probe):
        return pyav_reader.PyAVReader(source, probe, num_threads=num_threads)
    try:
        return torchcodec_reader.TorchcodecReader(source, probe, num_threads=num_threads)
    except VideoError as error:
        if decoder == "torchcodec":
            raise
        logger.warning("%s Reading it with PyAV instead.", error)
        return pyav_reader.PyAVReader(source, probe, num_threads=num_threads)
