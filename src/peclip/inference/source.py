"""Opens a session's source, and first downloads it if it is the URL of a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peclip.downloads.address import LiveStream
from peclip.downloads.direct import check_online, open_remote
from peclip.errors import VideoError
from peclip.inference.source_name import called
from peclip.predict_options import PredictOptions
from peclip.settings import Settings
from peclip.video.frames import Frames, TensorLike
from peclip.video.interface import LiveOptions, VideoReader
from peclip.video.reader import open_video
from peclip.video.sources import is_address, is_live_address

Video = str | Path | int | NDArray[np.uint8] | TensorLike | Frames
"""A file, a folder of frames, an http(s) or rtsp(s) URL, a webcam index, or pixels: numpy uint8 (T, H, W, 3) or
torch uint8 (T, 3, H, W), RGB."""


class OpenedSource:
    """A source, and the temporary file from which it is read if it was downloaded.

    With a name, errors have it instead of the path.
    """

    def __init__(
        self, video: Video, options: PredictOptions, settings: Settings, name: str | None = None
    ) -> None:
        self._video, self._options, self._settings = video, options, settings
        self._name = called(video) if name is None else name
        self._temporary = None if name is None else str(video)
        self.file: object = None
        """What is read: a path or an address, or the video as it was passed."""

    def open(self, stack: ExitStack) -> VideoReader:
        """Returns a reader for the source, whose temporary file exists as long as `stack`.

        Raises:
            VideoError: the source cannot be downloaded or read.
            DeviceError: a camera or a decoder is missing.
        """
        video, options = self._video, self._options
        if isinstance(video, str):
            video = self._download(video, stack) if is_address(video) else Path(video)
        self.file = video
        with self.errors():
            return open_video(
                video,
                decoder=options.decoder,
                frame_rate=options.frame_rate,
                live=LiveOptions(
                    options.stream_timeout, options.reconnect, expected=isinstance(video, str)
                ),
            )

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Makes errors name the address or the name instead of a temporary file."""
        try:
            yield
        except VideoError as error:
            if self._temporary is None:
                raise
            raise VideoError(str(error).replace(self._temporary, self._name)) from None

    def _download(self, address: str, stack: ExitStack) -> Path | str:
        """Returns the file at an address, or the address if it is that of a live source."""
        if is_live_address(address):
            check_online(address, self._settings)
            return address
        try:
            file = open_remote(address, settings=self._settings, suffix="")
            path = stack.enter_context(file)
        except LiveStream:
            return address
        self._temporary = str(path)
        return path
