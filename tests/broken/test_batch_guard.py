"""Whatever a server, a decoder or a bug raises is the failure of one source; the next one is read."""

from __future__ import annotations

import gzip
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import broken_videos
import numpy as np
import pytest
from http_server import FakeServer, Reply, Request
from outcomes import Predict
from synthetic_videos import write_video

from peclip.data.check import check_file
from peclip.data.samples import Sample
from peclip.downloads import direct
from peclip.errors import VideoError
from peclip.video import observer
from peclip.video.reader import open_video
from peclip.video.readers import pyav, pyav_decoding

# The replies of hostile_httpd.py in the hard cases, and more; those that never end are in other tests here, and
# endless_mjpeg_server.py there is `Camera(None)` of tests/fixtures/live_sources.py.
NINES = "9" * 5000
JUNK = bytes(range(256)) * 4
"""A body that is not a video."""


def raw(*parts: bytes) -> Reply:
    """A whole response, with its headers."""
    return Reply(stream=parts, raw=True)


ANSWERS = {
    "file": (
        Reply(status=302, headers={"Location": "file:///etc/passwd"}),
        "No connection adapters",
    ),
    "bracket": (Reply(status=302, headers={"Location": "http://[::bad/"}), "Invalid IPv6 URL"),
    "label": (Reply(status=302, headers={"Location": f"http://{'a' * 300}/"}), "too long"),
    "port": (Reply(status=302, headers={"Location": "http://127.0.0.1:99999/"}), "out of range"),
    "loop": (Reply(status=302, headers={"Location": "/loop"}), "Exceeded 30 redirects. Check"),
    "length": (Reply(declared=-1, headers={"Content-Length": NINES}), "MAX_DOWNLOAD_BYTES"),
    "part": (Reply(status=206, headers={"Content-Range": f"bytes 0-9/{NINES}"}), "206"),
    "start": (Reply(status=206, headers={"Content-Range": f"bytes {NINES}-9/10"}), "206"),
    "chunks": (
        Reply(b"zzzz\r\nabc", declared=-1, headers={"Transfer-Encoding": "chunked"}),
        "interrupted",
    ),
    "gzip": (
        Reply(b"no gzip", headers={"Content-Encoding": "gzip"}),
        "cannot be read: the response is not valid compressed data (Content-Encoding). Check",
    ),
    "bomb": (
        Reply(gzip.compress(bytes(10**7)), headers={"Content-Encoding": "gzip"}),
        "MAX_DOWNLOAD_BYTES",
    ),
    "headers": (Reply(headers={f"X-{number}": "y" for number in range(200)}), "100 headers"),
    "long": (Reply(headers={"X": "y" * 200_000}), "65536 bytes"),
    "escape": (Reply(status=404, headers={"X": "\x1b[31m"}), "404"),
    "empty": (Reply(), "empty file"),
    "nothing": (None, "closed connection"),
    "ftp": (Reply(status=302, headers={"Location": "ftp://127.0.0.1/x"}), "No connection adapters"),
    "toempty": (Reply(status=302, headers={"Location": ""}), "responded with 302"),
    "missing": (Reply(status=404), "responded with 404"),
    "204": (Reply(status=204), "responded with 204"),
    "huge": (Reply(JUNK, declared=10**15), "MAX_DOWNLOAD_BYTES"),
    "negative": (Reply(JUNK, declared=-1, headers={"Content-Length": "-5"}), "Invalid data"),
    "twolen": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n" + JUNK),
        "Content-Length",
    ),
    "short": (Reply(JUNK, cut_after=10), "interrupted"),
    "br": (
        Reply(JUNK, headers={"Content-Encoding": "br, zstd, deflate"}),
        "not valid compressed data",
    ),
    "hugechunk": (
        Reply(b"F" * 16 + b"\r\nabc", declared=-1, headers={"Transfer-Encoding": "chunked"}),
        "interrupted",
    ),
    "cookie": (Reply(JUNK, headers={"Set-Cookie": "a" * 60_000}), "Invalid data"),
    "100": (
        raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000 + b"HTTP/1.1 200 OK\r\n\r\n" + JUNK),
        "Invalid data",
    ),
    "ctrl": (
        raw(b"HTTP/1.1 200 OK\x1b[31m\r\nContent-Length: 0x10\r\n\r\n" + JUNK),
        "Invalid data",
    ),
    "status": (raw(b"HTTP/1.1 999 \xff\xfe\x1b[31m\r\n\r\n"), "responded with 999"),
    "phrase": (raw(b"HTTP/1.1 404 " + b"y" * 60_000 + b"\r\n\r\n"), "responded with 404 yyy"),
    "ssh": (raw(b"SSH-2.0-OpenSSH\r\n"), "not HTTP: 'SSH-2.0-OpenSSH'"),
    "http09": (raw(b"<html>" * 10_000), "not HTTP: '<html><html>"),
    "rst": (Reply(reset=True), "reset"),
    "playlist": (Reply(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n"), "Invalid data"),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr(direct, "RETRY_PAUSE_SECONDS", 0.0)
    for name, value in {
        "PECLIP_OFFLINE": "0",
        "PECLIP_MAX_DOWNLOAD_BYTES": "1000000",
        "NO_PROXY": "*",
    }.items():
        monkeypatch.setenv(name, value)

    def respond(request: Request) -> Reply | None:
        return ANSWERS[request.path.strip("/")][0]

    server = FakeServer(respond)
    with server.running():
        yield server


def test_every_answer_of_a_server_fails_one_source(
    server: FakeServer, predict: Predict, video: Path
) -> None:
    outcome = predict(*(f"{server.address}/{name}" for name in ANSWERS), video)
    assert outcome.code == 6
    for (name, (_, cause)), line in zip(ANSWERS.items(), outcome.errors, strict=True):
        assert line.startswith(f"{server.address}/{name} ")
        assert cause in line
        assert len(line) < 400
    assert {row["source"] for row in outcome.recognised} == {str(video)}


def drips(start: bytes) -> Iterator[bytes]:
    """Sends something now and then, for ever."""
    yield start
    never = threading.Event()
    while not never.wait(0.01):
        yield b"a"


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_server_that_sends_a_byte_now_and_then_is_left(
    start: bytes, server: FakeServer, predict: Predict, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its body or its headers never end; each byte would start the timeout of a socket again."""
    monkeypatch.setenv("PECLIP_DOWNLOAD_TIMEOUT", "0.3")
    server.script.append(Reply(stream=drips(start), raw=True))
    outcome = predict(f"{server.address}/drip", video)
    (line,) = outcome.errors
    assert "it took more than 0.3 s (PECLIP_DOWNLOAD_TIMEOUT)" in line
    assert {row["source"] for row in outcome.recognised} == {str(video)}


PROBED_BYTES = 5_000_000
"""What FFmpeg reads to find the streams."""


def late_sound(path: Path) -> Path:
    """Writes 50 frames as two videos in one file, of which only the second has sound."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 240, 320, 3), np.uint8)
    lossless = {"qp": "0", "preset": "ultrafast", "g": "1"}
    silent = write_video(path.with_stem("silent"), noise[:45], **lossless)
    loud = write_video(path.with_stem("loud"), noise[45:], audio=True, **lossless)
    assert silent.stat().st_size > PROBED_BYTES
    header = 13 if path.suffix == ".flv" else 0
    path.write_bytes(silent.read_bytes() + loud.read_bytes()[header:])
    return path


def late_sound_in_swf(path: Path) -> Path:
    """Writes 50 frames as two Flash files in one, of which only the second has sound."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 240, 320, 3), np.uint8)
    parts = []
    for number, (frames, sound) in enumerate([(noise[:45], False), (noise[45:], True)]):
        part = path.with_stem(f"part{number}")
        with av.open(str(part), "w") as container:
            stream = container.add_stream("flv", rate=25)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            stream.bit_rate = 100_000_000
            packets = []
            if sound:
                coder = container.add_stream("libmp3lame", rate=44_100)
                second = av.AudioFrame.from_ndarray(
                    np.zeros((2, 44_100), np.float32), "fltp", "stereo"
                )
                second.sample_rate = 44_100
                packets += [*coder.encode(second), *coder.encode(None)]
            for image in frames:
                packets += stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
            for packet in [*packets, *stream.encode(None)]:
                container.mux(packet)
        parts.append(part.read_bytes())
    assert len(parts[0]) > PROBED_BYTES
    path.write_bytes(
        parts[0][:-2] + parts[1][20:]
    )  # without the end tag, and the header of 20 bytes
    return path


@pytest.mark.parametrize("name", ["late.flv", "late.ts", "late.swf"])
def test_a_stream_that_appears_late_changes_nothing(
    name: str, tmp_path: Path, predict: Predict
) -> None:
    make = late_sound_in_swf if name.endswith("swf") else late_sound
    path = make(tmp_path / name)
    with open_video(path, decoder="pyav") as reader:
        assert sum(map(len, reader.chunks())) == 50
        assert len(reader) == 50
    assert predict(path).code == 0


@pytest.mark.parametrize(
    "error", [IndexError("list index out of range"), MemoryError(), UnicodeError(), KeyError("x")]
)
def test_any_exception_of_a_decoder_is_the_failure_of_its_source(
    error: Exception,
    video: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = broken_videos.small_video(tmp_path / "bad.ts")  # torchcodec does not read it
    stream_of = pyav_decoding.Decoding.stream

    def stream(decoding: pyav_decoding.Decoding, *arguments: Any) -> Any:
        if decoding._source == bad:
            raise error
        return stream_of(decoding, *arguments)

    monkeypatch.setattr(pyav_decoding.Decoding, "stream", stream)
    outcome = predict(bad, video, decoder="pyav")
    assert outcome.code == 6
    (line,) = outcome.errors
    assert line.startswith(f"{bad} cannot be read: {type(error).__name__}")
    (finding,) = check_file(Sample(bad, "happiness", "bad"))
    assert (finding.kind, finding.where) == ("unreadable", "bad")


def test_an_exception_in_the_middle_keeps_what_came(
    tmp_path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = broken_videos.faststart(tmp_path / "bad.mp4", count=60)
    count = itertools.count()
    convert = pyav.ToRGB.__call__

    def rgb(self: pyav.ToRGB, frame: av.VideoFrame) -> object:
        if next(count) >= 41:  # one picture is read when the video is opened
            raise IndexError("list index out of range")
        return convert(self, frame)

    monkeypatch.setattr(pyav.ToRGB, "__call__", rgb)
    outcome = predict(path, decoder="pyav")
    assert outcome.code == 6
    (line,) = outcome.errors
    assert line.startswith(f"{path}: decoding stopped after 1.56 s (frame 40): IndexError")
    assert outcome.recognised


def test_a_bug_is_reported_as_one_and_the_next_source_is_read(
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from peclip.cli.app import run

    bad = broken_videos.faststart(tmp_path / "bad.mp4")
    observe = observer.Observer.observe

    def broken(self: observer.Observer, *arguments: object, **options: object) -> object:
        monkeypatch.setattr(observer.Observer, "observe", observe)
        return [].pop()

    rows = tmp_path / "rows.jsonl"
    for flags in ([], ["-v"]):
        monkeypatch.setattr(observer.Observer, "observe", broken)
        arguments = ["-m", "debug", "--device", "cpu", "--no-face-crop", "--overwrite"]
        assert run([*flags, "predict", *arguments, "-o", str(rows), str(bad), str(video)]) == 1
        err = capsys.readouterr().err
        assert f"{bad} triggered a bug in peclip: IndexError: pop from empty list" in err
        assert ("Traceback (most recent call last)" in err) == bool(flags)
        assert str(video) in rows.read_text()


def test_errors_of_the_caller_are_not_those_of_a_source(video: Path) -> None:
    with open_video(video) as reader:
        with pytest.raises(IndexError, match="has no frame 10000"):
            reader.read([10_000])
        with pytest.raises(VideoError), reader:
            raise VideoError("of the caller")
