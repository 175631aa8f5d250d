"""Live sources are read as they come, never wait for ever, and read nothing but the network."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from http_server import FakeServer, Reply, Request, serving_files
from live_sources import MJPEG, Camera, RtspServer, hls, jpeg, parts

from peclip.errors import VideoError
from peclip.video.interface import LiveOptions, VideoReader
from peclip.video.reader import open_video
from peclip.video.readers import live, live_connection

GREYS = range(40, 220, 6)
FRAMES = np.stack([np.full((48, 64, 3), grey, np.uint8) for grey in GREYS])
QUICK = LiveOptions(timeout_s=0.3, expected=True)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(live, "RETRY_PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")
    yield
    for thread in threading.enumerate():  # a reader that is closed ends its thread
        if thread.name == "peclip-live":
            thread.join(5)
            assert not thread.is_alive()


def opened(address: str, options: LiveOptions = QUICK) -> VideoReader:
    return open_video(address, decoder="pyav", live=options)


def read_all(reader: VideoReader) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns the pictures, their times, and the error at their end."""
    data, times = [], []
    try:
        for frames in reader.chunks():
            data.append(frames.data)
            times.append(frames.timestamps)
    except VideoError as error:
        return np.concatenate(data), np.concatenate(times), str(error)
    return np.concatenate(data), np.concatenate(times), ""


def greys_of(images: np.ndarray) -> list[float]:
    return [float(image.mean()) for image in images]


def test_an_endless_mjpeg_stream_is_read_as_it_comes() -> None:
    with Camera(None, None).running() as camera, opened(camera.address, LiveOptions()) as reader:
        assert (reader.metadata.width, reader.metadata.height) == (64, 48)
        assert reader.metadata.live
        assert reader.metadata.frame_rate is None
        chunks = list(itertools.islice(reader.chunks(4), 3))
    assert [len(frames) for frames in chunks] == [4, 4, 4]
    data = np.concatenate([frames.data for frames in chunks])
    assert greys_of(data) == pytest.approx(
        [40, 60, 80, 100, 120, 140, 160, 180, 200, 220, 40, 60], abs=2
    )
    times = np.concatenate([frames.timestamps for frames in chunks])
    assert times[0] == 0
    assert (np.diff(times) > 0).all()


def test_times_of_mjpeg_are_those_of_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg would say 25 a second for every camera."""
    clock = itertools.count()
    monkeypatch.setattr(live_connection, "monotonic", lambda: float(next(clock)))
    with (
        Camera(None).running() as camera,
        opened(camera.address, LiveOptions(60, expected=True)) as reader,
    ):
        times = next(reader.chunks(4)).timestamps  # a chunk holds no more than 0.5 s
    assert len(times) == 2
    assert times[1] >= 1


def test_silence_ends_a_source_and_keeps_what_came() -> None:
    with Camera(-3).running() as camera, opened(camera.address) as reader:
        data, times, error = read_all(reader)
    assert len(data) == 3
    assert f"{camera.address}: decoding stopped after {times[-1]:.2f} s (frame 3)" in error
    assert "no data for 0.3 s (--stream-timeout)" in error


def test_a_server_that_ends_the_stream_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    with Camera(3).running() as camera, opened(camera.address) as reader:
        data, _, error = read_all(reader)
    assert (len(data), error) == (3, "")
    assert "the server ended the stream after" in caplog.text


def test_a_lost_connection_is_made_again() -> None:
    options = LiveOptions(timeout_s=5, reconnects=1, expected=True)
    with Camera(3, 4).running() as camera, opened(camera.address, options) as reader:
        data, times, error = read_all(reader)
    assert greys_of(data) == pytest.approx([40, 60, 80, 40, 60, 80, 100], abs=2)
    assert (np.diff(times) > 0).all()
    assert "(frame 7)" in error
    assert "404" in error


def test_closing_does_not_wait_for_a_silent_server() -> None:
    """The timeout is longer than the test may take: a chunk that is waited for ends with `stop`."""
    with Camera(-3).running() as camera:
        reader = opened(camera.address, LiveOptions(timeout_s=20, expected=True))
        chunks = reader.chunks(3)
        assert len(next(chunks)) == 3
        waiting = threading.Thread(target=lambda: list(chunks))
        waiting.start()
        reader.stop()
        waiting.join(10)
        assert not waiting.is_alive()


@pytest.mark.parametrize("segment", ["mpegts", "fmp4"])
def test_an_hls_stream_gives_every_frame(segment: str, tmp_path: Path) -> None:
    hls(tmp_path, FRAMES, segment=segment)
    with (
        serving_files(tmp_path) as address,
        opened(f"{address}/live.m3u8", LiveOptions(timeout_s=10)) as reader,
    ):
        data, times, error = read_all(reader)
    assert error == ""
    assert times == pytest.approx(np.arange(30) / 25)
    assert greys_of(data) == pytest.approx(list(GREYS), abs=2)


def test_an_hls_stream_that_stops_growing_is_silent(tmp_path: Path) -> None:
    playlist = hls(tmp_path, FRAMES)
    playlist.write_text(playlist.read_text().replace("#EXT-X-ENDLIST\n", ""))
    with serving_files(tmp_path) as address, opened(f"{address}/live.m3u8") as reader:
        data, _, error = read_all(reader)
    assert len(data) in {28, 29, 30}  # the parser holds what may not be whole
    assert "no data for 0.3 s" in error


@pytest.mark.parametrize(
    "location", ["file://{}", "{}", "concat:{}", "subfile,,start,0,end,0,,:{}"]
)
def test_a_playlist_cannot_read_local_files(location: str, tmp_path: Path) -> None:
    hls(tmp_path / "private", FRAMES)
    local = tmp_path / "private" / "live0.ts"
    assert local.is_file()
    text = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{location.format(local)}\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "evil.m3u8").write_text(text)
    with serving_files(tmp_path / "public") as address, pytest.raises(VideoError, match="evil"):
        opened(f"{address}/evil.m3u8")


def test_an_rtsp_stream_gives_every_frame() -> None:
    options = LiveOptions(timeout_s=10)
    with RtspServer(FRAMES).running() as server, opened(server.address, options) as reader:
        data, times, _ = read_all(reader)
    assert times == pytest.approx(np.arange(30) / 25)
    assert greys_of(data) == pytest.approx(list(GREYS), abs=2)


def test_an_rtsp_camera_that_falls_silent() -> None:
    with RtspServer(FRAMES, hold=True).running() as server, opened(server.address) as reader:
        data, _, error = read_all(reader)
    assert len(data) in {28, 29, 30}  # the parser holds what may not be whole
    assert "no data for 0.3 s" in error


def test_an_rtsp_server_that_never_answers() -> None:
    server = RtspServer(FRAMES[:1], silent=True)
    with server.running(), pytest.raises(VideoError, match=r"no data for 0\.3 s") as caught:
        opened(server.address)
    assert "admin:***@" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1:{}/x", "http://127.0.0.1:{}/x.m3u8"])
def test_nothing_listens(address: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # without listening
        with pytest.raises(VideoError, match=r"Connection refused\. Check the address"):
            opened(address.format(taken.getsockname()[1]))


def test_damaged_pictures_are_skipped_and_large_ones_refused() -> None:
    good, bomb = jpeg(100), bytearray(jpeg(100))
    place = bomb.index(b"\xff\xc0")
    bomb[place + 5 : place + 9] = b"\xff\xff\xff\xff"  # 65535x65535
    sent = [good, good[:100], b"no picture", bytes(bomb), good]

    def respond(_: Request) -> Reply:
        return Reply(stream=parts(sent), headers=MJPEG)

    server = FakeServer(respond)
    with (
        server.running(),
        opened(f"{server.address}/camera", LiveOptions(5, expected=True)) as reader,
    ):
        data, _, error = read_all(reader)
    assert error == ""
    assert {image.shape for image in data} == {(48, 64, 3)}
    assert greys_of(data[[0, -1]]) == pytest.approx([100, 100], abs=2)


def test_a_picture_of_another_size_is_fitted_into_the_first() -> None:
    sent = [jpeg(100)] * 5 + [jpeg(100, (32, 24))] * 5
    server = FakeServer(lambda _: Reply(stream=parts(sent), headers=MJPEG))
    with server.running(), opened(server.address, LiveOptions(5, expected=True)) as reader:
        data, _, error = read_all(reader)
    assert error == ""
    assert data.shape == (10, 48, 64, 3)
    assert greys_of(data[[0, -1]]) == pytest.approx([100, 100], abs=2)
