"""Live sources, MJPEG over HTTP, HLS and RTSP: read once, as they come, with PyAV.

A thread of its own reads and decodes, because a wait within FFmpeg ends only with data or with the timeout,
and Ctrl-C must not wait for it. A queue of a few pictures bounds the memory: while nobody takes them, nothing
is read, and the server has to wait or to drop pictures.
"""

from __future__ import annotations

import errno
import logging
import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from time import monotonic

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from peclip.downloads.address import is_playlist, without_password
from peclip.errors import VideoError
from peclip.video.frames import Frames
from peclip.video.interface import DEFAULT_LIVE_OPTIONS, LiveOptions, VideoMetadata
from peclip.video.readers.clock import Clock
from peclip.video.readers.orientation import Turner
from peclip.video.readers.pyav_picture import ToRGB
from peclip.video.readers.pyav_probe import Probe, packets_of, probe_container, reason
from peclip.video.readers.reference_frame import fit
from peclip.video.readers.streaming import (
    CHUNK_SECONDS,
    MAX_PIXELS,
    Image,
    ProcessBound,
    in_chunks,
    stopped,
)

logger = logging.getLogger(__name__)

RETRY_PAUSE_SECONDS = 1.0
"""The pause before the first new connection in a row; before the n-th it is n times as long."""

_QUEUED_PICTURES = 2
_WHITELISTS = {
    "http": "http,https,tcp,tls,crypto",
    "https": "http,https,tcp,tls,crypto",
    "rtsp": "rtp,rtsp,rtsps,srtp,tcp,tls,udp",
    "rtsps": "rtp,rtsp,rtsps,srtp,tcp,tls,udp",
}
"""Protocols by scheme: without `file`, a playlist of a stranger cannot name files of this machine."""


class _Lost(Exception):
    """Why a connection ended before the stream did."""


class LiveReader(ProcessBound):
    """Reads a live source once; `chunks` goes on where the last call stopped.

    Times are those of the stream; of MJPEG, which has none, those of this machine's monotonic clock when a picture
    arrived. After a new connection, they go on by the time that passed.

    Args:
        address: of a scheme in `http`, `https`, `rtsp` and `rtsps`.
        options: for how long to wait for data, and how often to connect again.
        num_threads: threads for decoding, 0 for as many as there are cores.

    Raises:
        VideoError: the server cannot be reached, or sends no picture.
    """

    def __init__(
        self, address: str, options: LiveOptions = DEFAULT_LIVE_OPTIONS, *, num_threads: int = 0
    ) -> None:
        super().__init__(without_password(address))
        self._address, self._options, self._num_threads = address, options, num_threads
        self._stopped = threading.Event()
        self._queue: queue.Queue[tuple[Image, float] | Exception | None] = queue.Queue(
            _QUEUED_PICTURES
        )
        self._probe: Probe | None = None
        self._to_rgb: ToRGB | None = None
        self._taken = self._take()
        threading.Thread(target=self._fill, name="peclip-live", daemon=True).start()
        try:
            first = next(self._taken, None)
        except BaseException:  # Ctrl-C too
            self.stop()
            raise
        if first is None:
            raise self._failure(None, 0, "the stream ends without a picture")
        self._unread = [first]
        self._shape = first[0].shape

    @property
    def metadata(self) -> VideoMetadata:
        assert self._probe is not None
        height, width, _ = self._shape
        rate = self._probe.frame_rate if self._probe.container != "mpjpeg" else None
        return VideoMetadata(width, height, rate, self._probe.duration_s, None, "pyav", live=True)

    def __len__(self) -> int:
        raise TypeError(f"{self._name} has no length; use chunks().")

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        self._check_process()
        return in_chunks(self._images(), max_frames, CHUNK_SECONDS)

    def read(self, indices: Sequence[int]) -> Frames:
        raise VideoError(f"{self._name} does not support access by frame number; use chunks().")

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
                for image, since in self._one_connection():
                    reference, now = reference or image.shape, monotonic()
                    if base is None:
                        assert seconds is not None
                        base = seconds + max(now - arrived, 1e-3)
                    attempt, count, arrived = 0, count + 1, now
                    seconds = base + since
                    yield fit(image, *reference[:2]), seconds
            except _Lost as error:
                lost = str(error)
            finished = lost is None and self._probe is not None and self._probe.container == "hls"
            if finished or attempt >= self._options.reconnects or self._stopped.is_set():
                break
            attempt += 1
            said = lost or "the server ended the stream"
            logger.warning("%s: %s. Connecting again (%d).", self._name, said, attempt)
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

    def _one_connection(self) -> Iterator[tuple[Image, float]]:
        """Yields the pictures of one connection, with times in seconds from the first of them.

        Raises:
            _Lost: it cannot be made, breaks, or nothing comes for too long.
        """
        with self._open() as container:
            stream = self._stream(container)
            assert self._probe is not None
            lost: list[_Lost] = []
            pictures = self._pictures(container, stream, lost)
            if self._probe.container == "mpjpeg":
                yield from _timed_by_arrival(pictures)
            else:
                clock = Clock(self._name, self._probe.frame_rate)
                timed = ((shown, time, None) for shown, time in pictures)
                yield from ((image, seconds) for (image, _), seconds, _ in clock.timed(timed))
            if lost:  # after the picture that the clock held back
                raise lost[0]

    def _pictures(
        self, container: InputContainer, stream: VideoStream, lost: list[_Lost]
    ) -> Iterator[tuple[tuple[Image, float], float | None]]:
        """Yields pictures with the time of their arrival, and their timestamp; adds why they end to `lost`."""
        assert self._to_rgb is not None
        shown = monotonic()
        try:
            for packet, now in self._packets(container, stream):
                try:
                    frames = stream.decode(packet)
                except (av.FFmpegError, OSError):  # damaged; players skip it too
                    frames = []
                for frame in frames:
                    try:
                        image = self._to_rgb(frame)
                    except (av.FFmpegError, OSError, ValueError) as error:
                        raise _Lost(reason(error)) from error
                    yield (image, now), None if frame.time is None else float(frame.time)
                    shown = monotonic()  # not `now`: the model may have taken its time
                if packet is not None and now - shown > self._options.timeout_s:
                    raise _Lost(f"no picture for {self._options.timeout_s:g} s")
        except _Lost as error:
            lost.append(error)

    def _open(self) -> InputContainer:
        scheme = self._address.partition(":")[0].lower()
        options = {"protocol_whitelist": _WHITELISTS[scheme]}
        if scheme.startswith("rtsp"):
            options["rtsp_flags"] = "prefer_tcp"  # firewalls and routers lose UDP
        elif not is_playlist(self._address):
            # MJPEG has no rate, and the twenty pictures to estimate one may take a minute.
            options["fpsprobesize"] = "0"
        began = monotonic()
        try:
            return av.open(
                self._address,
                options=options,
                metadata_errors="replace",
                timeout=self._options.timeout_s,
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._lost(error, began) from error

    def _stream(self, container: InputContainer) -> VideoStream:
        probe = probe_container(container, self._name)
        self._probe = self._probe or probe
        self._to_rgb = self._to_rgb or ToRGB(
            probe.pixel_aspect, probe.aspect_varies, Turner(self._name)
        )
        (stream,) = [s for s in container.streams.video if s.index == probe.stream_index]
        for other in container.streams:
            # Otherwise all qualities of an HLS stream would be fetched.
            if other.index != stream.index and hasattr(other, "discard"):
                other.discard = Discard.all
        # MJPEG has no times: a picture must come out with its packet.
        stream.thread_type = "SLICE" if probe.container == "mpjpeg" else "AUTO"
        stream.codec_context.thread_count = self._num_threads
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return stream

    def _packets(
        self, container: InputContainer, stream: VideoStream
    ) -> Iterator[tuple[Packet[VideoStream] | None, float]]:
        """Yields packets with the times of their arrival; `None` before an error, for what is still decoded."""
        packets = packets_of(container, stream)
        while True:
            began = monotonic()
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                waited = monotonic() - began >= self._options.timeout_s
                if error.errno == errno.EIO and container.format.name == "mpjpeg" and not waited:
                    return  # FFmpeg's name for the end of a stream that has no other mark of its end
                lost = self._lost(error, began)
                yield None, monotonic()
                raise lost from error
            now = monotonic()
            if now - began >= self._options.timeout_s:  # FFmpeg ends a wait as if the stream ended
                yield None, now
                raise self._silence()
            if packet is None:
                return
            yield packet, now

    def _lost(self, error: Exception, began: float) -> _Lost:
        silent = isinstance(error, av.ExitError)
        if silent or monotonic() - began >= self._options.timeout_s:
            return self._silence()
        return _Lost(reason(error))

    def _silence(self) -> _Lost:
        return _Lost(f"no data for {self._options.timeout_s:g} s (--stream-timeout)")


def _timed_by_arrival(
    pictures: Iterator[tuple[tuple[Image, float], float | None]],
) -> Iterator[tuple[Image, float]]:
    first: float | None = None
    last = -1e-6
    for (image, now), _ in pictures:
        first = now if first is None else first
        last = max(now - first, last + 1e-6)
        yield image, last
