"""The boundary around decoders: exceptions from their libraries become errors of the source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from peclip.errors import VideoError, cause, is_bug, source_errors
from peclip.video.frames import Frames
from peclip.video.interface import VideoMetadata, VideoReader
from peclip.video.readers.streaming import Closing, stopped


class GuardedReader(Closing):
    """Forwards every call to a reader, and converts its library's exceptions to `VideoError`.

    Bugs in peclip's own code propagate unchanged; see `peclip.errors.is_bug`.

    Args:
        reader: any reader.
        name: the source's name in errors.
    """

    def __init__(self, reader: VideoReader, name: str) -> None:
        self._reader, self._name = reader, name

    @property
    def metadata(self) -> VideoMetadata:
        with source_errors(self._name):
            return self._reader.metadata

    def __len__(self) -> int:
        with source_errors(self._name):
            return len(self._reader)

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        with source_errors(self._name):
            chunks = self._reader.chunks(max_frames)
        return self._guarded(chunks)

    def read(self, indices: Sequence[int]) -> Frames:
        with source_errors(self._name):
            return self._reader.read(indices)

    def stop(self) -> None:
        self._reader.stop()

    def close(self) -> None:
        with source_errors(self._name):
            self._reader.close()

    def _guarded(self, chunks: Iterator[Frames]) -> Iterator[Frames]:
        seconds: float | None = None
        count = 0
        while True:
            try:
                frames = next(chunks, None)
            except Exception as error:
                if isinstance(error, VideoError) or is_bug(error):
                    raise
                raise stopped(self._name, seconds, count, cause(error)) from error
            if frames is None:
                return
            seconds, count = float(frames.timestamps[-1]), count + len(frames)
            yield frames
