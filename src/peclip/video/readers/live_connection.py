"""One connection to a live source, read with PyAV until it ends."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from time import monotonic

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from peclip.downloads.address import is_playlist
from peclip.video.interface import LiveOptions
from peclip.video.readers.clock import Clock
from peclip.video.readers.orientation import Turner
from peclip.video.readers.pyav_picture import ToRGB
from peclip.video.readers.pyav_probe import Probe, packets_of, probe_container, reason
from peclip.video.readers.streaming import MAX_PIXELS, Image

_WHITELISTS = {
    "http": "http,https,tcp,tls,crypto",
    "https": "http,https,tcp,tls,crypto",
    "rtsp": "rtp,rtsp,rtsps,srtp,tcp,tls,udp",
    "rtsps": "rtp,rtsp,rtsps,srtp,tcp,tls,udp",
}
"""Allowed protocols by scheme; because `file` is excluded, an untrusted playlist cannot refer to local files."""


class Lost(Exception):
    """The reason why a connection ended before the stream did."""


class LiveConnection:
    """Connects to an address each time `pictures` is called.

    Args:
        name: the source's name, without a password.
        address: of a scheme in `http`, `https`, `rtsp` and `rtsps`.
        options: the timeout.
        num_threads: number of decoding threads; 0 uses all cores.
    """

    def __init__(self, name: str, address: str, options: LiveOptions, num_threads: int) -> None:
        self._name, self._address = name, address
        self._options, self._num_threads = options, num_threads
        self.probe: Probe | None = None
        """The header from the first connection; `None` before it is made."""
        self._to_rgb: ToRGB | None = None

    def pictures(self) -> Iterator[tuple[Image, float]]:
        """Yields the frames of one connection, with times in seconds from its first frame.

        Raises:
            Lost: the connection cannot be made, is broken, or times out.
        """
        with self._open() as container:
            stream = self._stream(container)
            assert self.probe is not None
            pictures = self._decoded(container, stream)
            if self.probe.container == "mpjpeg":
                yield from _timed_by_arrival(pictures)
            else:
                clock = Clock(self._name, self.probe.frame_rate)
                timed = ((shown, time, None) for shown, time in pictures)
                yield from ((image, seconds) for (image, _), seconds, _ in clock.timed(timed))

    def _decoded(
        self, container: InputContainer, stream: VideoStream
    ) -> Iterator[tuple[tuple[Image, float], float | None]]:
        """Yields pictures with the time of their arrival, and their timestamp."""
        assert self._to_rgb is not None
        shown = monotonic()
        for packet, now in self._packets(container, stream):
            try:
                frames = stream.decode(packet)
            except (av.FFmpegError, OSError):  # damaged; players skip it too
                frames = []
            for frame in frames:
                try:
                    image = self._to_rgb(frame)
                except (av.FFmpegError, OSError, ValueError) as error:
                    raise Lost(reason(error)) from error
                yield (image, now), None if frame.time is None else float(frame.time)
                shown = monotonic()  # not `now`: the model may have taken its time
            if packet is not None and now - shown > self._options.timeout_s:
                raise Lost(f"no frame for {self._options.timeout_s:g} s")

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
        self.probe = self.probe or probe
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

    def _lost(self, error: Exception, began: float) -> Lost:
        silent = isinstance(error, av.ExitError)
        if silent or monotonic() - began >= self._options.timeout_s:
            return self._silence()
        return Lost(reason(error))

    def _silence(self) -> Lost:
        return Lost(f"no data for {self._options.timeout_s:g} s (--stream-timeout)")


def _timed_by_arrival(
    pictures: Iterator[tuple[tuple[Image, float], float | None]],
) -> Iterator[tuple[Image, float]]:
    first: float | None = None
    last = -1e-6
    for (image, now), _ in pictures:
        first = now if first is None else first
        last = max(now - first, last + 1e-6)
        yield image, last
