"""`benchmarks/corpus.py` on videos that are made here: what agrees with ffprobe, and what does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import broken_videos
import corpus
import numpy as np
import pytest
from corpus import Video
from synthetic_videos import pictures, write_video

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffprobe") is None or shutil.which("ffmpeg") is None,
    reason="needs an installed FFmpeg",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    frames = pictures(20, 64, 48)
    write_video(folder / "turned.mp4", frames, rotation=90)
    write_video(folder / "uneven.mkv", frames, times_ms=[40 * i + 300 * (i > 9) for i in range(20)])
    (folder / "sub").mkdir()
    write_video(folder / "sub" / "plain.webm", frames, codec="libvpx")
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(3000))
    (folder / "README.md").write_text("not media")
    return folder


@needs_ffmpeg
def test_the_truth_of_ffprobe(folder: Path) -> None:
    turned = corpus.ffprobe(folder / "turned.mp4", 60)
    uneven = corpus.ffprobe(folder / "uneven.mkv", 60)
    assert isinstance(turned, Video)
    assert isinstance(uneven, Video)
    assert (turned.frames, turned.size) == (20, (48, 64))
    assert turned.span_s == pytest.approx(0.76)
    assert uneven.span_s == pytest.approx(1.06)
    assert isinstance(corpus.ffprobe(folder / "noise.mp4", 60), str)


@needs_ffmpeg
def test_the_truth_is_the_stream_that_ffmpeg_chooses(tmp_path: Path) -> None:
    """The larger of two, though it comes second; and a bare stream has no times."""
    two = corpus.ffprobe(broken_videos.two_streams(tmp_path / "two.mkv"), 60)
    bare = corpus.ffprobe(write_video(tmp_path / "bare.h264", pictures(20, 64, 48)), 60)
    assert isinstance(two, Video)
    assert isinstance(bare, Video)
    assert two.size == (64, 48)
    assert (bare.frames, bare.span_s) == (20, None)


@needs_ffmpeg
def test_a_folder_is_read_and_compared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        corpus.Worker, "read", lambda self, path, decoder: corpus.read(path, decoder, None)
    )
    assert corpus.main([str(folder), "--decoder", "pyav"]) == 0
    told = capsys.readouterr().out
    assert (
        "| sub/plain.webm | pyav | 20 frames, 0.76 s, 64x48 | 20 frames, 0.76 s, 64x48 | ok |"
        in told
    )
    assert "| turned.mp4 | pyav | 20 frames, 0.76 s, 48x64 |" in told
    assert "README" not in told
    assert told.endswith("\n4 read, 4 agree, 0 differ\n")
    wrong = replace(corpus.read(folder / "turned.mp4", "pyav", None), frames=19)  # type: ignore[type-var]
    monkeypatch.setattr(corpus.Worker, "read", lambda *_: wrong)
    assert corpus.main([str(folder), "--decoder", "pyav"]) == 1
    assert "-1 frames" in capsys.readouterr().out


PICTURE = pictures(1, 32, 32)[0]
GOOD = Video(20, 0.76, (64, 48), PICTURE)


@pytest.mark.parametrize(
    ("ours", "truth", "verdict"),
    [
        (GOOD, GOOD, "ok"),
        (replace(GOOD, frames=21), GOOD, "+1 frames"),
        (replace(GOOD, span_s=0.79), GOOD, "ok"),  # within a frame
        (replace(GOOD, span_s=0.9), GOOD, "+0.14 s"),
        (replace(GOOD, size=(48, 64)), GOOD, "size"),
        (replace(GOOD, length=21), GOOD, "len() is 21"),
        (replace(GOOD, picture=np.rot90(PICTURE)), GOOD, "turned: 270 degrees"),
        (replace(GOOD, picture=PICTURE[:, ::-1]), GOOD, "turned: mirrored, 0 degrees"),
        (replace(GOOD, picture=PICTURE * 0), GOOD, "picture differs by {black} levels"),
        (replace(GOOD, picture=np.maximum(PICTURE, 20)), GOOD, "ok"),  # a little brighter
        (GOOD, replace(GOOD, span_s=None), "ok"),  # a bare stream
        (replace(GOOD, span_s=1.56), replace(GOOD, joined_s=1.56), "ok"),  # two recordings
        (replace(GOOD, span_s=2.0), replace(GOOD, joined_s=1.56), "+0.44 s"),
        ("VideoError after 3 frames: x", GOOD, "not read"),
        ("VideoError: x", "no video stream", corpus.NOT_READ),
        ("VideoError: torchcodec cannot be used for x: …", GOOD, corpus.REFUSED),
        (GOOD, "no video stream", "only peclip reads it"),
        (GOOD, "ffprobe timed out", "ffprobe timed out"),
        ("crashed with IndexError: x", "no video stream", "crashed with IndexError"),
        ("timed out after 1 s", "no video stream", "timed out after 1 s"),
    ],
)
def test_verdicts(ours: corpus.Result, truth: corpus.Result, verdict: str) -> None:
    assert corpus.compare(ours, truth) == verdict.format(black=round(float(PICTURE.mean())))


def test_decoders_are_compared_by_how_long_the_last_frame_is_shown() -> None:
    long, short = replace(GOOD, last_s=5.0), replace(GOOD, last_s=0.04)
    assert corpus.compare(long, GOOD, {"pyav": short}) == "last frame 5.00 s, with pyav 0.04 s"
    for others in ({"pyav": long}, {"pyav": GOOD}, {"torchcodec": "VideoError: x"}):
        assert corpus.compare(long, GOOD, others) == "ok"


def test_times_that_start_again_are_joined() -> None:
    assert corpus.joined([0, 0.04, 0.08, 0.12]) is None
    assert corpus.joined([0, 1, 2, 3, 0, 1, 2]) == pytest.approx(6.0)  # the restart takes 1 s


@pytest.mark.slow
def test_a_worker_that_hangs_or_dies_is_replaced(folder: Path, tmp_path: Path) -> None:
    worker = corpus.Worker(None, 60)
    try:
        assert isinstance(worker.read(folder / "turned.mp4", "pyav"), Video)
        worker._process.kill()
        assert worker.read(folder / "turned.mp4", "pyav") == "crashed with exit code -9"
        assert isinstance(worker.read(folder / "turned.mp4", "pyav"), Video)
        worker._timeout = 0.0
        assert worker.read(folder / "turned.mp4", "pyav") == "timed out after 0 s"
        worker._timeout = 60.0
        assert isinstance(worker.read(folder / "turned.mp4", "pyav"), Video)
    finally:
        worker.close()
