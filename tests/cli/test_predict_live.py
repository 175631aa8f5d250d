"""`peclip predict` on live sources: rows as they are made, and every way in which a source ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Output, refused
from http_server import FakeServer, Reply, Request
from live_sources import MJPEG, Camera, RtspServer, hls, jpeg, parts

from peclip.cli.app import run

QUICK = ["-m", "debug", "--device", "cpu", "--no-face-crop", "--window", "50ms", "--hop", "50ms"]
FRAMES = np.full((20, 48, 64, 3), 100, np.uint8)


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PECLIP_OFFLINE", "0")
    monkeypatch.setenv("NO_PROXY", "*")


def statuses(rows: Path) -> list[str]:
    return [json.loads(line)["status"] for line in rows.read_text().splitlines()]


def test_an_endless_stream_is_read_to_the_end_that_was_given(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    with Camera(None, None).running() as camera:  # asked what it is, and then read
        assert run(["predict", camera.address, "--end", "200ms", "-o", str(rows), *QUICK]) == 0
    assert len(rows.read_text().splitlines()) >= 3
    assert set(statuses(rows)) == {"ok"}


def test_interrupting_keeps_all_rows(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    pressed = False

    def camera() -> Iterator[bytes]:
        nonlocal pressed
        while True:
            yield from parts([jpeg(100)])
            if not pressed and rows.exists() and rows.read_text().count("\n") >= 3:
                pressed = True
                os.kill(os.getpid(), signal.SIGINT)

    server = FakeServer(lambda _: Reply(stream=camera(), headers=MJPEG))
    with server.running():
        assert run(["predict", f"{server.address}/camera", "-o", str(rows), *QUICK]) == 130
    assert len(statuses(rows)) >= 3
    assert set(statuses(rows)) == {"ok"}


@pytest.mark.parametrize("when", ["connecting", "reading"])
def test_interrupting_does_not_wait_for_a_silent_server(when: str, tmp_path: Path) -> None:
    """The timeout is a day."""

    def press() -> Iterator[bytes]:
        if when == "reading":
            yield from parts([jpeg(100)] * 5)
        os.kill(os.getpid(), signal.SIGINT)
        camera.release.wait(30)

    camera = Camera()
    replies = iter([Reply(stream=parts([jpeg(100)]), headers=MJPEG)])
    camera.server.respond = lambda _: next(replies, Reply(stream=press(), headers=MJPEG))
    options = ["--stream-timeout", "86400", "-o", str(tmp_path / "rows.jsonl"), *QUICK]
    with camera.running():
        assert run(["predict", camera.address, *options]) == 130


def test_silence_is_a_failure_after_the_rows(tmp_path: Path, capsys: Output) -> None:
    rows = tmp_path / "rows.jsonl"
    options = ["--stream-timeout", "300ms", "-o", str(rows), *QUICK]
    with Camera(1, -40).running() as camera:
        assert run(["predict", camera.address, *options]) == 6
    found = statuses(rows)
    assert found[-1] == "decode_error"
    assert set(found[:-1]) == {"ok"}
    assert "no data for 0.3 s (--stream-timeout)" in capsys.readouterr().err


def test_a_playlist_is_known_by_its_media_type(tmp_path: Path) -> None:
    playlist = hls(tmp_path / "stream", FRAMES)
    header = {"Content-Type": "application/vnd.apple.mpegurl; charset=utf-8"}

    def respond(request: Request) -> Reply:
        name = request.path.lstrip("/")
        if name == "watch":
            return Reply(playlist.read_bytes(), headers=header)
        return Reply((playlist.parent / name).read_bytes(), ranges=True)

    server, rows = FakeServer(respond), tmp_path / "rows.jsonl"
    with server.running():
        assert run(["predict", f"{server.address}/watch", "-o", str(rows), *QUICK]) == 0
    last = json.loads(rows.read_text().splitlines()[-1])
    assert (last["end_s"], last["end_frame"]) == (pytest.approx(0.8), 19)


def test_rows_of_a_camera_do_not_show_its_password(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    with RtspServer(FRAMES).running() as server:
        assert run(["predict", server.address, "-o", str(rows), *QUICK]) == 0
    sources = {json.loads(line)["source"] for line in rows.read_text().splitlines()}
    assert sources == {server.address.replace("secret", "***")}


def test_live_sources_need_the_network(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("PECLIP_OFFLINE", "1")
    error = refused(capsys, "predict", "rtsp://user:secret@127.0.0.1/x", *QUICK, code=3)
    assert "rtsp://user:***@127.0.0.1/x cannot be read: peclip is in offline mode" in error
