"""Live sources (MJPEG over HTTP, HLS and RTSP), read once with PyAV as they arrive.

A separate thread reads and decodes, because a wait in FFmpeg ends only with data or a timeout, and Ctrl-C must
not wait for it. A queue of a few frames bounds the memory: if no frames are taken from it, nothing is read, and
the server must wait or drop frames.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from time import monotonic

from peclip.downloads.address import without_password
from peclip.errors import VideoError
from peclip.video.interface import DEFAULT_LIVE_OPTIONS, LiveOptions, VideoMetadata
from peclip.video.readers.live_connection import LiveConnection, Lost
from peclip.video.readers.reference_frame import fit
from peclip.video.readers.streaming import Endless, Image, stopped

logger = logging.getLogger(__name__)

RETRY_PAUSE_SECONDS = 1.0
"""The pause before the first of several consecutive reconnections; before the n-th, it is n times as long."""

_QUEUED_PICTURES = 2


class LiveReader(Endless):
    """Reads a live source once; `chunks` continues where the last call stopped.

    Times are the stream's timestamps. MJPEG has none, so the arrival times of frames on this machine's monotonic
    clock are used. After a reconnection, times continue after the time that has passed.

    Args:
        address: of a scheme in `http`, `https`, `rtsp` and `rtsps`.
        options: the timeout, and the maximum number of reconnections.
        num_threads: number of decoding threads; 0 uses all cores.

    Raises:
        VideoError: the server cannot be reached, or sends no frames.
    """

    def __init__(
        self, address: str, options: LiveOptions = DEFAULT_LIVE_OPTIONS, *, num_threads: int = 0
    ) -> None:
        super().__init__(without_password(address))
        self._options = options
        self._connection = LiveConnection(self._name, address, options, num_threads)
        self._stopped = threading.Event()
        self._queue: queue.Queue[tuple[Image, float] | Exception | None] = queue.Queue(
            _QUEUED_PICTURES
        )
        self._taken = self._take()
        threading.Thread(target=self._fill, name="peclip-live", daemon=True).start()
        try:
            first = next(self._taken, None)
        except BaseException:  # Ctrl-C too
            self.stop()
            raise
        if first is None:
            raise self._failure(None, 0, "the stream ended before the first frame")
        self._unread = [first]
        self._shape = first[0].shape

    @property
    def metadata(self) -> VideoMetadata:
        probe = self._connection.probe
        assert probe is not None
        height, width, _ = self._shape
        rate = probe.frame_rate if probe.container != "mpjpeg" else None
        return VideoMetadata(width, height, rate, probe.duration_s, None, "pyav", live=True)

    def stop(self) -> None:
        self._stopped.set()
        with suppress(queue.Empty):  # makes room for the thread that reads
            while True:
                self._queue.get_nowait()
        with suppress(queue.Full):  # wakes whoever waits for a picture
            self._queue.put_nowait(None)

    def close(self) -> None:
        self.stop()

    def _images(self) -> Iterator[tuple[Image, float]]:
        while self._unread:
            yield self._unread.pop()
        yield from self._taken

    def _take(self) -> Iterator[tuple[Image, float]]:
        """Yields what the thread puts into the queue."""
        while (item := self._queue.get()) is not None and not self._stopped.is_set():
            if isinstance(item, Exception):
                raise item
            yield item

    def _fill(self) -> None:
        """Reads in the thread."""
        try:
            with closing(self._connected()) as images:
                for item in images:
                    if self._stopped.is_set():
                        return
                    self._queue.put(item)
            last: Exception | None = None
        except Exception as error:  # raised where pictures are taken
            last = error
        if not self._stopped.is_set():
            self._queue.put(last)

    def _connected(self) -> Generator[tuple[Image, float], None, None]:
        """Yields pictures with times in seconds, over as many connections as it takes and the options allow."""
        seconds: float | None = None
        reference: tuple[int, ...] | None = None
        attempt, count, arrived = 0, 0, 0.0
        while True:
            base: float | None = 0.0 if seconds is None else None
            lost: str | None = None
            try:
                for image, since in self._connection.pictures():
                    reference, now = reference or image.shape, monotonic()
                    if base is None:
                        assert seconds is not None
                        base = seconds + max(now - arrived, 1e-3)
                    attempt, count, arrived = 0, count + 1, now
                    seconds = base + since
                    yield fit(image, *reference[:2]), seconds
            except Lost as error:
                lost = str(error)
            finished = (
                lost is None
                and self._connection.probe is not None
                and self._connection.probe.container == "hls"
            )
            if finished or attempt >= self._options.reconnects or self._stopped.is_set():
                break
            attempt += 1
            said = lost or "the server closed the stream"
            logger.warning("%s: %s. Reconnecting (attempt %d).", self._name, said, attempt)
            if self._stopped.wait(RETRY_PAUSE_SECONDS * attempt):
                break
        if lost is not None:
            raise self._failure(seconds, count, lost)
        if not finished and seconds is not None:
            logger.warning("%s: the server ended the stream after %.2f s.", self._name, seconds)

    def _failure(self, seconds: float | None, count: int, why: str) -> VideoError:
        if count:
            return stopped(self._name, seconds, count, why)
        return VideoError(
            f"{self._name} cannot be read: {why}. Check the address and that the camera or server is "
            "running."
        )
