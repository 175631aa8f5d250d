"""Videos that are whole but strange give rows; sizes that no camera has give one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import broken_videos
import numpy as np
import pytest
from decoders import DECODERS, each_decoder, is_refusal
from outcomes import Predict
from sweeps import sweep

from peclip.cli.app import run
from peclip.errors import ConfigError, VideoError
from peclip.video.frames import Frames
from peclip.video.reader import open_video
from peclip.video.readers.pyav_picture import ToRGB

Good = dict[str, bytes]

STRANGE: dict[str, Callable[[Path], object]] = {
    "one-frame.mp4": lambda path: broken_videos.small_video(path, count=1),
    "two-frames.mp4": lambda path: broken_videos.small_video(path, count=2),
    "one-pixel.mkv": lambda path: broken_videos.small_video(path, size=(1, 1), codec="ffv1", pix_fmt="bgr0"),
    "one-row.mkv": lambda path: broken_videos.small_video(path, size=(512, 1), codec="ffv1", pix_fmt="bgr0"),
    "one-column.nut": lambda path: broken_videos.small_video(path, size=(1, 512), codec="rawvideo", pix_fmt="bgr0"),
    "odd.mkv": lambda path: broken_videos.small_video(path, size=(33, 17), codec="ffv1"),
    "ten-bit.mp4": lambda path: broken_videos.small_video(path, pix_fmt="yuv420p10le"),
    "full-range.mp4": lambda path: broken_videos.small_video(path, pix_fmt="yuvj420p"),
    "444.mp4": lambda path: broken_videos.small_video(path, pix_fmt="yuv444p"),
    "alpha.mkv": lambda path: broken_videos.small_video(path, codec="ffv1", pix_fmt="bgra"),
    "alpha.mov": lambda path: broken_videos.small_video(path, codec="png", pix_fmt="rgba"),
    "16-bit.mov": lambda path: broken_videos.small_video(path, codec="png", pix_fmt="rgb48be"),
    "grey.mkv": lambda path: broken_videos.small_video(path, codec="ffv1", pix_fmt="gray"),
    "grey-16.mkv": lambda path: broken_videos.small_video(path, codec="ffv1", pix_fmt="gray16le"),
    "12-bit.mkv": lambda path: broken_videos.small_video(path, codec="ffv1", pix_fmt="yuv420p12le"),
    "float.nut": lambda path: broken_videos.small_video(path, codec="rawvideo", pix_fmt="gbrpf32le"),
    "one-bit.nut": lambda path: broken_videos.small_video(path, codec="rawvideo", pix_fmt="monob"),
    "xyz.nut": lambda path: broken_videos.small_video(path, codec="rawvideo", pix_fmt="xyz12le"),
    "yuva.nut": lambda path: broken_videos.small_video(path, codec="rawvideo", pix_fmt="yuva420p"),
    "411.nut": lambda path: broken_videos.small_video(path, codec="rawvideo", pix_fmt="yuv411p"),
    "interlaced.mp4": lambda path: broken_videos.small_video(path, **{"x264-params": "tff=1"}),
    "interlaced.mkv": lambda path: broken_videos.small_video(path, codec="mpeg4", flags="+ilme+ildct", g="4"),
    "rotated.mp4": lambda path: broken_videos.small_video(path, rotation=90),
    "upside-down.mp4": lambda path: broken_videos.small_video(path, rotation=180),
    "negative-times.mkv": lambda path: broken_videos.small_video(
        path, codec="mpeg4", times_ms=[40 * i - 1000 for i in range(12)],
        container_options={"avoid_negative_ts": "disabled"},
    ),
    "gap.mp4": lambda path: broken_videos.small_video(
        path, times_ms=[40 * i + (i > 5) * 3_600_000 for i in range(12)]
    ),
    "gap-of-ages.mkv": lambda path: broken_videos.small_video(
        path, times_ms=[40 * i + (i > 5) * 9 * 10**18 for i in range(12)]
    ),
    "starts-in-ages.mkv": lambda path: broken_videos.small_video(
        path, times_ms=[40 * i + 9 * 10**18 for i in range(12)]
    ),
    "leaps-of-ages.mkv": lambda path: broken_videos.small_video(
        path, times_ms=[i * 8 * 10**17 for i in range(12)]
    ),
    "variable-rate.mp4": lambda path: broken_videos.small_video(
        path, times_ms=[0, 40, 80, 200, 1000, 1033, 1040, 2000, 2001, 2002, 2003, 5000]
    ),
    "program-stream.mpg": broken_videos.small_video,
    "two-videos.mp4": broken_videos.two_streams,
    "one-picture-and-sound.mp4": broken_videos.long_sound,
    "no-times.h264": broken_videos.small_video,
    "animation.gif": lambda path: broken_videos.small_video(path, codec="gif", pix_fmt="rgb8"),
    "motion-jpeg.avi": lambda path: broken_videos.small_video(path, codec="mjpeg", pix_fmt="yuvj420p"),
    "flash.flv": lambda path: broken_videos.small_video(path, codec="flv"),
    "raw.y4m": lambda path: path.write_bytes(broken_videos.y4m(64, 48, 12, bytes([90]) * (64 * 48 * 3 // 2))),
    "picture.mp4": lambda path: path.write_bytes(broken_videos.png_of(64, 48)),
}  # fmt: skip


ONE_PER_CLASS = [
    *("one-frame.mp4", "one-pixel.mkv", "one-column.nut", "odd.mkv"),  # size
    *("ten-bit.mp4", "444.mp4", "alpha.mov", "grey-16.mkv", "float.nut", "one-bit.nut"),  # pixels
    *("interlaced.mp4", "rotated.mp4"),
    *("negative-times.mkv", "gap.mp4", "gap-of-ages.mkv", "variable-rate.mp4"),  # times
    *("two-videos.mp4", "one-picture-and-sound.mp4"),  # streams
    *("no-times.h264", "animation.gif", "raw.y4m", "picture.mp4"),  # containers
]


@pytest.mark.parametrize(("decoder", "crop"), [("auto", True), (DECODERS[0], False)])
@sweep("name", STRANGE, default=ONE_PER_CLASS)
def test_a_strange_video_gives_rows(
    name: str, decoder: str, crop: bool, predict: Predict, tmp_path: Path
) -> None:
    path = tmp_path / name
    STRANGE[name](path)
    outcome = predict(path, decoder=decoder, crop=crop)
    if outcome.errors and is_refusal(decoder, outcome.errors[0]):
        return
    assert outcome.code == 0
    assert {row["source"] for row in outcome.rows} == {str(path)}
    assert max(int(row["end_frame"]) for row in outcome.rows) <= broken_videos.FRAMES  # type: ignore[call-overload]


@each_decoder
def test_an_audio_only_file_is_a_one_line_error(
    decoder: str, predict: Predict, tmp_path: Path
) -> None:
    outcome = predict(broken_videos.sound_only(tmp_path / "talk.mp4"), decoder=decoder)
    assert outcome.code == 3
    assert "no video stream (1 audio stream found)" in outcome.errors[0]


@each_decoder
@sweep("name", ["none.mp4", "none.mkv", "none.avi"], default=["none.mp4"])
def test_a_stream_without_packets_is_a_one_line_error(
    name: str, decoder: str, predict: Predict, tmp_path: Path
) -> None:
    outcome = predict(broken_videos.no_packets(tmp_path / name), decoder=decoder)
    assert outcome.code == 3
    assert len(outcome.errors) == 1


HUGE: dict[str, Callable[[Good], bytes]] = {
    "30000x30000.y4m": lambda _: broken_videos.y4m(30000, 30000),
    "16000x16000.y4m": lambda _: broken_videos.y4m(16000, 16000),
    "1x200000000.y4m": lambda _: broken_videos.y4m(1, 200_000_000),
    "65535x65535.gif": lambda g: g["plain.gif"][:6] + b"\xff\xff\xff\xff" + g["plain.gif"][10:],
    "16000x16000.gif": lambda g: (
        g["plain.gif"][:6] + (16000).to_bytes(2, "little") * 2 + g["plain.gif"][10:]
    ),
    "30000x30000.avi": lambda g: broken_videos.avi_with_size(g["plain.avi"], 30000, 30000),
    "16000x16000.avi": lambda g: broken_videos.avi_with_size(g["plain.avi"], 16000, 16000),
    "-5x-5.avi": lambda g: broken_videos.avi_with_size(g["plain.avi"], -5, -5),
    "0x0.avi": lambda g: broken_videos.avi_with_size(g["plain.avi"], 0, 0),
    "30000x30000.png": lambda _: broken_videos.png_header(30000, 30000),
    "12000x12000.png": lambda _: broken_videos.black_png(12000, 12000),
    "12000x12000.mp4": lambda _: broken_videos.png_header(12000, 12000),
}


@each_decoder
@sweep(
    "name",
    HUGE,
    default=["30000x30000.y4m", "65535x65535.gif", "16000x16000.avi", "0x0.avi", "12000x12000.png"],
)
def test_an_absurd_frame_size_is_a_one_line_error_and_allocates_nothing(
    name: str,
    decoder: str,
    good: Good,
    predict: Predict,
    tmp_path: Path,
) -> None:
    path = tmp_path / name
    path.write_bytes(HUGE[name](good))
    broken_videos.forget_memory()
    before = broken_videos.memory()
    outcome = predict(path, decoder=decoder)
    assert outcome.code in ({0, 3} if name.endswith("avi") else {3})
    # FFmpeg itself decodes a first picture of up to 2**28 pixels to learn what a file is.
    assert broken_videos.memory() - before < 500 * 2**20
    assert all(str(path) in line for line in outcome.errors)


def test_a_frame_larger_than_its_header_allocates_nothing(predict: Predict, tmp_path: Path) -> None:
    path = tmp_path / "grows.mp4"
    path.write_bytes(broken_videos.png_of(64, 48) * 6 + broken_videos.black_png(12000, 12000))
    broken_videos.forget_memory()
    before = broken_videos.memory()
    assert predict(path).code == 6
    assert broken_videos.memory() - before < 100 * 2**20


def test_a_pixel_format_that_crashes_the_process_is_a_one_line_error(
    predict: Predict, tmp_path: Path
) -> None:
    path = tmp_path / "grey.mp4"
    path.write_bytes(broken_videos.exr(1))
    assert predict(path).code == 0
    path.write_bytes(broken_videos.exr(2))
    assert predict(path).code == 3
    always = broken_videos.exr_video(tmp_path / "always.mov", 2, 2)
    outcome = predict(always)
    assert outcome.code == 3
    assert "-c:v libx264" in outcome.errors[0]
    later = broken_videos.exr_video(tmp_path / "later.mov", 1, 1, 2)
    assert predict(later, decoder="pyav").code == 6
    with open_video(later, decoder="pyav") as reader, pytest.raises(VideoError):
        reader.read([2])


def test_a_frame_that_cannot_be_converted_is_a_one_line_error(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise av.error.NotImplementedError(38, "Function not implemented")

    monkeypatch.setattr(ToRGB, "__call__", refuse)  # as swscale does for gray32 and rgba128
    path = broken_videos.faststart(tmp_path / "a.mp4")
    outcome = predict(path, decoder="pyav")
    assert outcome.code == 3
    assert f"{path} has no decodable frames: Function not" in outcome.errors[0]


@pytest.mark.parametrize("hop", ["1e-300", "0", "-1", "0.0001ms"])
def test_infinite_windows_are_a_usage_error(hop: str, tmp_path: Path) -> None:
    path = broken_videos.faststart(tmp_path / "a.mp4")
    assert run(["predict", str(path), "-m", "debug", "--no-face-crop", "--hop", hop]) == 2


@pytest.mark.parametrize("times", [[0.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, float("nan"), 1.0]])
def test_decreasing_times_are_a_usage_error(times: list[float]) -> None:
    data = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(ConfigError, match="must increase"):
        open_video(Frames(data, np.array(times)))
