"""Videos whose pictures change in the middle are read to their end, in the size of their first frame."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from changing_videos import Segment, write_segments
from decoders import each_decoder, needs_torchcodec
from PIL import Image
from synthetic_videos import pictures, write_video

from peclip.video.reader import open_video
from peclip.video.readers.reference_frame import fit

WHITE = np.full((1, 48, 64, 3), 255, np.uint8)


def frames_of(path, decoder="auto"):
    """All frames, which `chunks` and `read` give alike, in any order."""
    with open_video(path, decoder=decoder) as reader:
        frames = np.concatenate([chunk.data for chunk in reader.chunks(4)])
        assert len(reader) == len(frames)
        assert np.array_equal(reader.read(range(len(reader))).data, frames)
        assert np.array_equal(reader.read([len(reader) - 1, 0]).data, frames[[-1, 0]])
        for index in range(len(reader)):
            assert np.array_equal(reader.read([index]).data[0], frames[index])
        assert (reader.metadata.height, reader.metadata.width) == frames.shape[1:3]
        return frames


def lit(frame):
    """The rectangle of a frame that is not black: left, top, width, height."""
    rows, columns = (np.flatnonzero((frame > 128).any((axis, 2))) for axis in (1, 0))
    return columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1


def white(width, height, count=3, **options):
    return Segment(np.full((count, height, width, 3), 255, np.uint8), **options)


@pytest.mark.parametrize(
    ("width", "height", "rectangle"),
    [
        (64, 48, (0, 0, 64, 48)),
        (32, 24, (0, 0, 64, 48)),
        (128, 96, (0, 0, 64, 48)),
        (96, 48, (0, 8, 64, 32)),  # wider: black above and below
        (48, 64, (14, 0, 36, 48)),  # turned: black on the left and on the right
        (1, 1000, (31, 0, 1, 48)),
    ],
)
def test_the_aspect_is_kept(width, height, rectangle):
    fitted = fit(np.full((height, width, 3), 255, np.uint8), 48, 64)
    assert fitted.shape == (48, 64, 3)
    assert lit(fitted) == rectangle


def test_an_image_of_the_right_size_is_not_copied():
    image = WHITE[0]
    assert fit(image, 48, 64) is image


SIZES = [white(64, 48), white(96, 48), white(32, 24), white(48, 64), white(64, 48)]


@each_decoder
@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        ("webm", "libvpx"),
        ("mkv", "libvpx-vp9"),
        ("mp4", "libx264"),
        ("mkv", "libx264"),
        ("avi", "mpeg4"),
    ],
)
def test_changes_of_size(ending, codec, decoder, tmp_path):
    path = write_segments(tmp_path / f"a.{ending}", SIZES, codec)
    frames = frames_of(path, decoder)
    expected = [(0, 0, 64, 48), (0, 8, 64, 32), (0, 0, 64, 48), (14, 0, 36, 48), (0, 0, 64, 48)]
    assert [lit(frame) for frame in frames[::3]] == expected
    with open_video(path, decoder=decoder) as reader:
        times = np.concatenate([chunk.timestamps for chunk in reader.chunks()])
        assert times == pytest.approx(np.arange(15) / 25, abs=1e-3)


@pytest.mark.parametrize("ending", ["ts", "h264"])
def test_changes_of_size_in_a_stream(ending, tmp_path):
    frames = frames_of(write_segments(tmp_path / f"a.{ending}", SIZES))
    assert len(frames) == 15
    assert lit(frames[3]) == (0, 8, 64, 32)


@needs_torchcodec
@pytest.mark.parametrize(
    ("ending", "codec"), [("webm", "libvpx"), ("mp4", "libx264"), ("avi", "mjpeg")]
)
def test_both_decoders_agree_on_changes_of_size(ending, codec, tmp_path):
    kind = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {}
    segments = [Segment(pictures(4, width, 48), **kind) for width in (64, 96, 32)]
    path = write_segments(tmp_path / f"a.{ending}", segments, codec)
    assert np.array_equal(frames_of(path, "torchcodec"), frames_of(path, "pyav"))


@each_decoder
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_change_of_the_pixel_format(ending, decoder, tmp_path):
    images = pictures(3, 64, 48)
    segments = [Segment(images), Segment(images, pix_fmt="yuv444p"), Segment(images)]
    frames = frames_of(write_segments(tmp_path / f"a.{ending}", segments), decoder)
    assert frames.shape == (9, 48, 64, 3)
    for start in (0, 3, 6):
        close = np.abs(frames[start : start + 3].astype(int) - images).mean()
        assert close < 20  # the pictures are noisy, and subsampled chroma is blurred


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("ts", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("h264", "libx264")],
)
def test_a_change_of_the_pixel_aspect(ending, codec, tmp_path):
    wide = white(64, 48, aspect=Fraction(2))  # 128x48 in square pixels
    tall = white(64, 48, aspect=Fraction(1, 2))  # 64x96 in square pixels
    path = write_segments(tmp_path / f"a.{ending}", [white(64, 48), wide, tall], codec)
    frames = frames_of(path)
    assert [lit(frame) for frame in frames[::3]] == [
        (0, 0, 64, 48),
        (0, 12, 64, 24),
        (16, 0, 32, 48),
    ]


@needs_torchcodec
def test_torchcodec_hands_over_what_it_cannot_see(tmp_path, caplog):
    segments = [white(64, 48), white(64, 48, aspect=Fraction(2))]
    path = write_segments(tmp_path / "a.avi", segments, "mpeg4")
    assert lit(frames_of(path, "torchcodec")[-1]) == (0, 12, 64, 24)
    assert "its headers change. Reading it with PyAV instead." in caplog.text
    caplog.clear()
    assert lit(frames_of(path, "auto")[-1]) == (0, 12, 64, 24)
    assert not caplog.records


@needs_torchcodec
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
def test_headers_that_repeat_unchanged_stay_with_torchcodec(codec, tmp_path):
    kind = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {}
    path = write_video(tmp_path / "a.avi", codec=codec, g="5", bf="0", **kind)
    with open_video(path, decoder="torchcodec") as reader:
        assert reader.metadata.decoder == "torchcodec"


def test_the_aspect_in_the_container_holds_for_the_whole_stream(tmp_path):
    """As in ffmpeg; MP4 is such a container."""
    segments = [white(64, 48, aspect=Fraction(2)), white(32, 24)]
    frames = frames_of(write_segments(tmp_path / "a.mp4", segments))
    assert frames.shape == (6, 48, 128, 3)
    assert lit(frames[-1]) == (0, 0, 128, 48)


def test_images_of_several_sizes(tmp_path):
    for number, size in enumerate([(64, 48), (96, 48), (48, 64)]):
        Image.new("RGB", size, "white").save(tmp_path / f"{number}.png")
    frames = frames_of(tmp_path)
    assert [lit(frame) for frame in frames] == [(0, 0, 64, 48), (0, 8, 64, 32), (14, 0, 36, 48)]


def test_a_recording_that_changes_its_resolution(shared_data):
    """VP8 with pixels of 3:4, 640x480, 320x240 and 640x480 for 3 s each; torchcodec refuses such pixels."""
    with open_video(shared_data / "hard" / "resolution_changes.webm") as reader:
        chunks = list(reader.chunks())
        frames = np.concatenate([chunk.data for chunk in chunks])
        times = np.concatenate([chunk.timestamps for chunk in chunks])
        assert frames.shape == (135, 640, 640, 3)
        assert times[-1] == pytest.approx(134 / 15, abs=0.002)
        assert np.abs(frames[44].astype(int) - frames[46]).mean() < 8  # the same portrait
        assert np.array_equal(reader.read([134, 60, 0]).data, frames[[134, 60, 0]])


@each_decoder
@pytest.mark.parametrize("matrix", [(-1, 0, 0, 1), (0, 1, 1, 0), (0, 1, -1, 0)])
def test_sizes_change_under_a_display_matrix(matrix, decoder, tmp_path):
    sizes = [(64, 48), (128, 96), (32, 24)]
    segments = [Segment(pictures(5, *size), pix_fmt="yuvj420p") for size in sizes]
    path = write_segments(tmp_path / "a.mov", segments, "mjpeg", matrix)
    with open_video(path, decoder=decoder) as reader:
        chunks = list(reader.chunks())
    frames = np.concatenate([chunk.data for chunk in chunks])
    turned = matrix[0] == 0
    assert frames.shape == (15, *((64, 48) if turned else (48, 64)), 3)
    times = np.concatenate([chunk.timestamps for chunk in chunks])
    assert times == pytest.approx(np.arange(15) / 25)
