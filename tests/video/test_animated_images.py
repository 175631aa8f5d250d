"""Animated WebP and PNG are videos: every frame, at its time, by content and not by name."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest

from peclip.errors import VideoError
from peclip.video.frames import Frames
from peclip.video.interface import VideoReader
from peclip.video.reader import open_video

LEVELS = (0, 40, 80, 120, 160)
DELAYS = (100, 200, 300, 50, 400)
STARTS = [0.0, 0.1, 0.3, 0.6, 0.65]


def save(path: Path, delays: tuple[int, ...] = DELAYS, **options: object) -> Path:
    """Saves an animation of grey frames, with durations in ms."""
    first, *others = [PIL.Image.new("RGB", (64, 48), (level,) * 3) for level in LEVELS]
    delays = delays[1:] if options.get("default_image") else delays
    first.save(path, save_all=True, append_images=others, duration=[*delays], **options)
    return path


def read(reader: VideoReader) -> Frames:
    chunks = list(reader.chunks())
    return Frames(
        np.concatenate([chunk.data for chunk in chunks]),
        np.concatenate([chunk.timestamps for chunk in chunks]),
    )


def levels(frames: Frames) -> list[int]:
    return [int(picture[24, 32, 0]) for picture in frames.data]


@pytest.fixture(params=[("webp", "WEBP"), ("png", "PNG"), ("bin", "WEBP"), ("jpg", "PNG")])
def animation(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    suffix, form = request.param
    options = {"lossless": True} if form == "WEBP" else {}
    return save(tmp_path / f"a.{suffix}", format=form, **options)


def test_every_frame_has_its_time(animation: Path) -> None:
    with open_video(animation) as reader:
        found, about = read(reader), reader.metadata
        assert (len(reader), about.num_frames, about.decoder) == (5, 5, "images")
        assert (about.width, about.height) == (64, 48)
        assert about.duration_s == pytest.approx(1.05)
        assert levels(found) == list(LEVELS)
        assert found.timestamps == pytest.approx(STARTS)
        again = reader.read([4, 1, 1])
        assert levels(again) == [160, 40, 40]
        assert again.timestamps == pytest.approx([0.65, 0.1, 0.1])
        with pytest.raises(IndexError, match="0 to 4"):
            reader.read([5])


@pytest.mark.parametrize("default_image", [False, True])
def test_an_animated_png_is_read_as_ffmpeg_reads_it(default_image: bool, tmp_path: Path) -> None:
    """A frame without a duration takes 1/15 s; a picture for other programs is not a frame."""
    path = save(tmp_path / "a.png", (100, 200, 0, 50, 400), default_image=default_image)
    with av.open(str(path)) as container:
        frames = [(f.time, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    with open_video(path) as reader:
        found = read(reader)
        assert len(reader) == len(frames) == 5 - default_image
    np.testing.assert_array_equal(found.data, np.stack([picture for _, picture in frames]))
    # FFmpeg counts in units of 10 µs
    np.testing.assert_allclose(found.timestamps, [time for time, _ in frames], atol=2e-5)


def test_the_animation_of_the_shared_data(shared_data: Path) -> None:
    with open_video(shared_data / "hard" / "animated.webp") as reader:
        found = read(reader)
        assert reader.metadata.duration_s == pytest.approx(3.0)
    assert len(found) == 30
    np.testing.assert_allclose(found.timestamps, np.arange(30) / 10)


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_one_frame_is_a_still(name: str, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / name)
    with open_video(tmp_path / name, frame_rate=10) as reader:
        assert (len(reader), reader.metadata.frame_rate) == (1, 10)


def test_a_gif_is_a_video_whatever_its_name(tmp_path: Path) -> None:
    with open_video(save(tmp_path / "a.png", format="GIF")) as reader:
        assert len(reader) == 5


def test_an_animation_among_frames_is_an_error(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
    save(tmp_path / "1.png")
    with open_video(tmp_path) as reader, pytest.raises(VideoError, match=r"1\.png is an animation"):
        read(reader)


def test_a_truncated_animation_gives_its_frames_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    random = np.random.default_rng(0)
    first, *others = [
        PIL.Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8)) for _ in range(5)
    ]
    first.save(path, save_all=True, append_images=others, duration=100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    times: list[float] = []
    with (
        open_video(path) as reader,
        pytest.raises(VideoError, match=r"stopped after 0\.20 s \(frame 3\)"),
    ):
        times.extend(float(chunk.timestamps[0]) for chunk in reader.chunks(1))
    assert times == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize("form", ["WEBP", "PNG"])
def test_a_canvas_that_is_too_large_is_an_error(form: str, tmp_path: Path) -> None:
    content = bytearray(save(tmp_path / "a", format=form).read_bytes())
    place, order = (24, "little") if form == "WEBP" else (16, "big")
    size = 3 if form == "WEBP" else 4
    for start in (place, place + size):
        content[start : start + size] = (16_000).to_bytes(size, order)
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(VideoError):
        open_video(tmp_path / "b")
