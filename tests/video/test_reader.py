import os
import pickle
import sys
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
import torch
from decoders import DECODERS, PROBLEM, each_decoder, each_with_torchcodec, needs_torchcodec
from http_server import serving_files
from PIL import Image
from synthetic_videos import pictures, write_audio, write_video

from peclip.errors import ConfigError, DeviceError, VideoError
from peclip.video.frames import Frames
from peclip.video.reader import open_video
from peclip.video.readers import camera, ffmpeg, pyav_picture, streaming, torchcodec


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """30 frames of 64x48 at 25 frames per second, with B-frames, a key frame every ten, and sound."""
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    return write_video(path, audio=True, g="10")


def everything(path, decoder, **options):
    """All frames, their times, and the error in which the stream ended."""
    chunks, failure = [], None
    with open_video(path, decoder=decoder, **options) as reader:
        try:
            chunks.extend(reader.chunks())
        except VideoError as error:
            failure = error
    return (
        np.concatenate([chunk.data for chunk in chunks]),
        np.concatenate([chunk.timestamps for chunk in chunks]),
        failure,
    )


def assert_equal(path):
    """Both decoders give the same frames, bit for bit, the same times, counts and metadata."""
    data, times, failure = everything(path, "torchcodec")
    other_data, other_times, other_failure = everything(path, "pyav")
    assert failure is None
    assert other_failure is None
    np.testing.assert_allclose(times, other_times, rtol=0, atol=1e-6)
    assert np.array_equal(data, other_data)
    with open_video(path, decoder="torchcodec") as a, open_video(path, decoder="pyav") as b:
        assert len(a) == len(b) == len(data)
        for name in ("width", "height", "frame_rate", "duration_s"):
            assert getattr(a.metadata, name) == getattr(b.metadata, name)
        assert (a.metadata.height, a.metadata.width) == data.shape[1:3]
        last = len(a) - 1
        chosen = [last, 0, last // 2, last // 2, 1]
        for reader in (a, b):
            frames = reader.read(chosen)
            assert np.array_equal(frames.data, data[chosen])
            np.testing.assert_allclose(frames.timestamps, times[chosen], rtol=0, atol=1e-6)


# --- both decoders ------------------------------------------------------------------------------


@each_decoder
def test_a_video_is_read_whole_in_order_and_in_colour(decoder, tmp_path):
    frames = pictures(20, 64, 48)
    path = write_video(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="bgr0")  # lossless
    data, times, failure = everything(path, decoder)
    assert failure is None
    assert np.array_equal(data, frames)
    np.testing.assert_allclose(times, np.arange(20) * 0.04, atol=1e-9)


@each_decoder
def test_metadata(decoder, clip):
    with open_video(clip, decoder=decoder) as reader:
        metadata = reader.metadata
        assert (metadata.width, metadata.height, metadata.decoder) == (64, 48, decoder)
        assert metadata.frame_rate == pytest.approx(25)
        assert metadata.duration_s == pytest.approx(1.2)
        assert metadata.num_frames == len(reader) == 30


@each_decoder
def test_times_are_presentation_times_also_when_the_rate_varies(decoder, tmp_path):
    times_ms = [0, 40, 80, 200, 1000, 1033, 1040, 5000]
    path = write_video(tmp_path / "vfr.mp4", pictures(8, 64, 48), times_ms=times_ms)
    _, times, _ = everything(path, decoder)
    np.testing.assert_allclose(times * 1000, times_ms, atol=1e-3)
    with open_video(path, decoder=decoder) as reader:
        np.testing.assert_allclose(reader.read([4, 1]).timestamps, [1.0, 0.04], atol=1e-6)


@each_decoder
def test_times_start_at_zero_when_the_video_starts_late(decoder, tmp_path):
    path = write_video(tmp_path / "late.mkv", times_ms=[5000 + 40 * i for i in range(30)])
    _, times, _ = everything(path, decoder)
    np.testing.assert_allclose(times, np.arange(30) * 0.04, atol=1e-6)
    with open_video(path, decoder=decoder) as reader:
        assert reader.metadata.duration_s == pytest.approx(1.2, abs=0.05)
        assert reader.read([25]).timestamps.tolist() == pytest.approx([1.0])


@each_decoder
@pytest.mark.parametrize(("rotation", "corner"), [(90, "left"), (-90, "right"), (180, "bottom")])
def test_rotation_is_undone(decoder, rotation, corner, tmp_path):
    image = np.zeros((4, 48, 64, 3), np.uint8)
    image[:, :16] = 255  # a white band at the top of the coded picture
    path = write_video(tmp_path / "phone.mp4", image, rotation=rotation)
    data, _, _ = everything(path, decoder)
    with open_video(path, decoder=decoder) as reader:
        assert (reader.metadata.height, reader.metadata.width) == data.shape[1:3]
    assert data.shape[1:3] == ((64, 48) if abs(rotation) == 90 else (48, 64))
    grey = data[0].mean(-1)
    bands = {"left": grey[:, :8], "right": grey[:, -8:], "top": grey[:8], "bottom": grey[-8:]}
    assert max(bands, key=lambda name: float(bands[name].mean())) == corner


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize(
    ("aspect", "width", "height"),
    [
        (Fraction(64, 45), 91, 48),
        (Fraction(1, 2), 64, 96),
        (Fraction(640, 639), 64, 48),  # left over from rounding
        (Fraction(10), 64, 48),  # no such pixels are
        (Fraction(1, 10), 64, 48),
    ],
)
def test_pixels_become_square(ending, aspect, width, height, tmp_path):
    image = np.zeros((4, 48, 64, 3), np.uint8)
    image[:, :, 16:32] = 255  # the second quarter
    codec = "mpeg4" if ending == "avi" else "libx264"
    path = write_video(tmp_path / f"dv.{ending}", image, codec=codec, pixel_aspect=aspect)
    data, _, failure = everything(path, "auto")
    assert failure is None
    assert data.shape == (4, height, width, 3)
    columns = data[0].mean((0, 2))
    assert columns[width // 4 + 3 : width // 2 - 3].min() > 200
    assert max(columns[: width // 4 - 3].max(), columns[width // 2 + 3 :].max()) < 50
    with open_video(path) as reader:
        assert (reader.metadata.width, reader.metadata.height) == (width, height)
        assert np.array_equal(reader.read([3, 1]).data, data[[3, 1]])


def test_pixels_become_square_before_the_picture_is_turned(tmp_path):
    path = write_video(tmp_path / "phone.mp4", pixel_aspect=Fraction(2), rotation=90)
    assert everything(path, "auto")[0].shape[1:3] == (128, 48)


def test_a_frame_too_large_with_square_pixels_is_a_one_line_error(tmp_path, monkeypatch):
    path = write_video(tmp_path / "wide.mp4", pixel_aspect=Fraction(2))
    monkeypatch.setattr(pyav_picture, "MAX_PIXELS", 64 * 48)
    with pytest.raises(
        VideoError, match="its frames are 128x48 in square pixels, which is too large"
    ):
        open_video(path)


@needs_torchcodec
def test_torchcodec_does_not_read_non_square_pixels(tmp_path):
    path = write_video(tmp_path / "dv.mp4", pixel_aspect=Fraction(64, 45))
    with pytest.raises(VideoError, match="with square pixels"):
        open_video(path, decoder="torchcodec")


def test_a_single_image_is_not_copied():
    image = np.zeros((4, 6, 3), np.uint8)
    (chunk,) = streaming.in_chunks(iter([(image, 0.0)]), 1)
    assert np.shares_memory(chunk.data, image)


@each_decoder
def test_single_frames_are_those_of_longer_chunks(decoder, clip):
    """No frame is overwritten by a later one."""
    with open_video(clip, decoder=decoder) as reader:
        single = list(reader.chunks(1))
        expected = np.concatenate([frames.data for frames in reader.chunks()])
    assert np.array_equal(np.concatenate([frames.data for frames in single]), expected)


@each_decoder
def test_chunks_are_bounded_by_frames_and_by_bytes(decoder, clip, monkeypatch):
    with open_video(clip, decoder=decoder) as reader:
        assert [len(chunk) for chunk in reader.chunks(13)] == [13, 13, 4]
        monkeypatch.setattr(streaming, "CHUNK_BYTES", 3 * 64 * 48 * 3 + 5)
        assert [len(chunk) for chunk in reader.chunks(16)] == [3] * 10
        monkeypatch.setattr(streaming, "CHUNK_BYTES", 1)
        assert [len(chunk) for chunk in reader.chunks(16)] == [1] * 30
        with pytest.raises(ConfigError, match="it must be 1 or more"):
            reader.chunks(0)


@each_decoder
def test_read_gives_any_order_and_repeats(decoder, clip):
    data, times, _ = everything(clip, decoder)
    with open_video(clip, decoder=decoder) as reader:
        for chosen in ([29, 0, 0, 14, 13, 29], [5], list(range(30))):
            frames = reader.read(chosen)
            assert np.array_equal(frames.data, data[chosen])
            np.testing.assert_allclose(frames.timestamps, times[chosen], rtol=0, atol=1e-9)
        assert reader.read([]).data.shape == (0, 48, 64, 3)
        for wrong in (-1, 30):
            with pytest.raises(IndexError, match="its frames are 0 to 29"):
                reader.read([wrong])


@each_decoder
def test_reading_between_two_chunks_does_not_disturb_them(decoder, clip):
    data, _, _ = everything(clip, decoder)
    with open_video(clip, decoder=decoder) as reader:
        streamed = []
        for chunk in reader.chunks(7):
            streamed.append(chunk.data)
            reader.read([28, 2])
    assert np.array_equal(np.concatenate(streamed), data)


@each_decoder
def test_a_corrupt_packet_is_skipped(decoder, clip, tmp_path):
    path = damaged(clip, tmp_path / "damaged.mp4", [13])
    data, times, failure = everything(path, decoder)
    assert failure is None
    assert 20 <= len(data) < 30
    assert times[-1] == pytest.approx(1.16)
    assert (np.diff(times) > 0).all()


@each_decoder
def test_a_corrupt_end_gives_all_frames_before_it_and_then_an_error(decoder, clip, tmp_path):
    path = damaged(clip, tmp_path / "damaged.mp4", range(20, 30))
    data, times, failure = everything(path, decoder)
    assert 17 <= len(data) <= 20
    assert str(failure).startswith(
        f"{path}: decoding stopped after {times[-1]:.2f} s (frame {len(data)}): "
    )
    assert "Invalid data found" in str(failure)
    assert "\n" not in str(failure)
    with open_video(path, decoder=decoder) as reader, pytest.raises(VideoError):
        reader.read([0, 29])


@each_with_torchcodec("broken", [[13], [29], [28, 29], [5, 6, 22], range(20, 30), range(9, 30)])
def test_both_decoders_treat_corrupt_data_alike(broken, clip, tmp_path):
    path = damaged(clip, tmp_path / "damaged.mp4", broken)
    _, times, failure = everything(path, "torchcodec")
    _, other_times, other_failure = everything(path, "pyav")
    assert np.allclose(times, other_times, rtol=0, atol=1e-6)
    assert (failure is None) == (other_failure is None)


@each_decoder
def test_a_truncated_video_gives_its_frames_and_then_an_error(decoder, tmp_path):
    whole = write_video(tmp_path / "whole.mp4", container_options={"movflags": "faststart"}, g="5")
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    data, _, failure = everything(path, decoder)
    assert 5 < len(data) < 30
    assert np.array_equal(data[:5], everything(whole, decoder)[0][:5])
    assert "decoding stopped after" in str(failure)
    assert "\n" not in str(failure)


@each_decoder
def test_a_file_that_is_not_a_video_is_a_one_line_error(decoder, tmp_path, clip):
    text = tmp_path / "text.mp4"
    text.write_text("hello " * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    unfinished = tmp_path / "unfinished.mp4"
    unfinished.write_bytes(clip.read_bytes()[:5000])  # the index of this file is at its end
    audio = write_audio(tmp_path / "talk.mp4")
    for path, message in [
        (tmp_path / "missing.mp4", f"{tmp_path}/missing.mp4 does not exist"),
        (empty, f"{empty} is an empty file"),
        (text, f"{text} cannot be read as a video: Invalid data"),
        (unfinished, f"{unfinished} cannot be read as a video"),
        (audio, f"{audio} has no video stream (1 audio stream found)."),
    ]:
        with pytest.raises(VideoError) as caught:
            open_video(path, decoder=decoder)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)


@each_decoder
def test_the_cover_of_an_album_is_not_a_video(decoder, tmp_path):
    path = tmp_path / "album.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(pictures(1, 32, 32)[0], format="rgb24")
        container.mux(cover.encode(frame.reformat(format="yuvj420p", dst_color_range="JPEG")))
        container.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(
        VideoError, match=r"no video stream \(1 audio stream, 1 cover picture found"
    ):
        open_video(path, decoder=decoder)


def test_a_playlist_cannot_read_other_files(tmp_path, clip):
    path = tmp_path / "list.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clip}\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError):
        open_video(path)


@each_decoder
def test_a_name_with_a_colon_or_a_percent_is_a_file(decoder, clip, tmp_path):
    for name in ("http:x.mp4", "a%03d.mp4", "ä ö.mp4"):
        path = tmp_path / name
        path.write_bytes(clip.read_bytes())
        with open_video(path, decoder=decoder) as reader:
            assert len(reader) == 30


# --- equality of the decoders -------------------------------------------------------------------

FORMATS = {
    "h264.mp4": {},
    "sound.mp4": {"audio": True},
    "ten_bit.mp4": {"pix_fmt": "yuv420p10le"},
    "yuv444.mp4": {"pix_fmt": "yuv444p"},
    "full_range.mp4": {"pix_fmt": "yuvj420p"},
    "odd.mkv": {"codec": "ffv1", "size": (33, 17)},
    "odd_ten_bit.mkv": {"codec": "ffv1", "pix_fmt": "yuv420p10le", "size": (33, 17)},
    "odd_gbrp.mkv": {"codec": "ffv1", "pix_fmt": "bgr0", "size": (35, 19)},
    "filtered.mp4": {"size": (176, 144)},  # not a multiple of 32: another path inside torchcodec
    "animation.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "vfr.mp4": {"times_ms": [0, 40, 80, 200, 1000, 1033, 1040, *range(2000, 2000 + 23 * 7, 7)]},
    "rotated.mp4": {"rotation": 90},
    "rotated_odd.mkv": {"rotation": -90, "codec": "ffv1", "size": (33, 17)},
}


@each_with_torchcodec("name", FORMATS)
def test_both_decoders_give_equal_frames(name, tmp_path):
    options = dict(FORMATS[name])
    frames = pictures(30, *options.pop("size", (64, 48)))
    assert_equal(write_video(tmp_path / name, frames, **options))


@pytest.mark.slow
@needs_torchcodec
def test_both_decoders_give_equal_frames_of_real_videos(clips):
    for name in ("happy.mp4", "single_face.mp4", "nasa_13013_rotated.mp4", "classroom.gif"):
        assert_equal(clips / name)


@needs_torchcodec
def test_mpeg4_is_nearly_equal(tmp_path):
    # MPEG-4 part 2 leaves the rounding of its inverse DCT open, and the FFmpeg inside PyAV rounds otherwise
    # than an older one outside.
    path = write_video(tmp_path / "old.avi", codec="mpeg4")
    data, times, _ = everything(path, "torchcodec")
    other_data, other_times, _ = everything(path, "pyav")
    difference = np.abs(data.astype(int) - other_data)
    assert difference.max() <= 2
    assert difference.mean() <= 0.1
    np.testing.assert_allclose(times, other_times, rtol=0, atol=1e-6)


def test_real_videos_become_upright_with_square_pixels(clips):
    with open_video(clips / "carphone_pristine.mp4") as reader:
        assert reader.read([0]).data.shape == (1, 144, 193, 3)  # stored as 176x144
    for decoder in DECODERS:
        with open_video(clips / "nasa_13013_rotated.mp4", decoder=decoder) as reader:
            assert (reader.metadata.width, reader.metadata.height) == (270, 480)
            assert reader.read([0]).data.shape == (1, 480, 270, 3)


def with_palette(path):
    """Twelve frames, each of one colour of a palette, of which four are key frames for seeking."""
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 0] = 255
    palette[:12, 1:] = COLOURS
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "pal8"
        for number in range(12):
            indices = np.full((48, 64), number, np.uint8)
            frame = av.VideoFrame.from_ndarray((indices, palette), format="pal8")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


COLOURS = [(20 * i, 255 - 20 * i, 100) for i in range(12)]


def grey_animation(path):
    """Twelve frames in QuickTime Animation, whose greys are a palette."""
    frames = np.stack([np.full((48, 64, 3), 20 * i, np.uint8) for i in range(12)])
    return write_video(path, frames, codec="qtrle", pix_fmt="gray")


@pytest.mark.parametrize(
    ("name", "make", "colours"),
    [
        ("a.avi", with_palette, COLOURS),
        ("a.mov", with_palette, COLOURS),
        ("grey.mov", grey_animation, [(20 * i,) * 3 for i in range(12)]),
    ],
)
def test_a_palette_is_applied_to_every_frame(name, make, colours, tmp_path):
    """MOV gives it with the first packet only; torchcodec does not apply it."""
    path = make(tmp_path / name)
    with open_video(path) as reader:
        data = np.concatenate([chunk.data for chunk in reader.chunks()])
        np.testing.assert_allclose(data.mean((1, 2)), colours, atol=3)
        assert np.array_equal(reader.read([9, 4]).data, data[[9, 4]])
    if "torchcodec" in DECODERS:
        with pytest.raises(VideoError, match=r"torchcodec cannot be used.*pal8.*auto or pyav"):
            open_video(path, decoder="torchcodec")


# --- which decoder ------------------------------------------------------------------------------


def test_auto_is_pyav(clip, tmp_path):
    stream = write_video(tmp_path / "a.ts", g="10")
    with open_video(clip) as a, open_video(stream) as b:
        assert a.metadata.decoder == b.metadata.decoder == "pyav"
        assert len(b) == 30


@needs_torchcodec
def test_torchcodec_reads_only_containers_with_an_index(clip, tmp_path):
    with open_video(clip, decoder="torchcodec") as reader:
        assert reader.metadata.decoder == "torchcodec"
    stream = write_video(tmp_path / "a.ts", g="10")
    assert everything(stream, "auto")[1].tolist() == pytest.approx([0.04 * i for i in range(30)])
    with pytest.raises(VideoError, match="torchcodec cannot be used for"):
        open_video(stream, decoder="torchcodec")


@needs_torchcodec
def test_a_start_before_zero_is_read_with_pyav_only(tmp_path):
    path = write_video(
        tmp_path / "early.mkv",
        codec="mpeg4",
        times_ms=[40 * i - 1000 for i in range(30)],
        container_options={"avoid_negative_ts": "disabled"},
        g="10",
    )
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time == pytest.approx(-1)
    data, times, failure = everything(path, "auto")
    assert (len(data), failure) == (30, None)
    np.testing.assert_allclose(times, np.arange(30) * 0.04, atol=1e-6)
    with open_video(path) as reader:
        assert np.array_equal(reader.read([29, 3]).data, data[[29, 3]])
    with pytest.raises(VideoError, match="torchcodec"):
        open_video(path, decoder="torchcodec")


def test_without_ffmpeg_auto_is_pyav_and_torchcodec_names_the_missing_package(clip, monkeypatch):
    monkeypatch.setattr(torchcodec, "load_problem", lambda: "no FFmpeg was found")
    with open_video(clip) as reader:
        assert reader.metadata.decoder == "pyav"
    with pytest.raises(
        DeviceError, match=r"no FFmpeg was found.*apt install ffmpeg.*pyav"
    ) as caught:
        open_video(clip, decoder="torchcodec")
    assert caught.value.exit_code == 5


def test_a_failed_torchcodec_import_is_a_reason_and_not_a_crash(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    assert "torchcodec" in str(torchcodec.load_problem.__wrapped__())


def test_the_state_of_torchcodec_is_found_without_importing_it(monkeypatch):
    about, problem = ffmpeg.torchcodec_state()
    assert (problem is None) == (PROBLEM is None)
    if problem is None:
        import torchcodec as library

        assert about == (
            f"torchcodec {version('torchcodec')}, FFmpeg {library.ffmpeg_major_version}"
        )
    monkeypatch.setattr(ffmpeg, "_ffmpeg", lambda: None)
    monkeypatch.setattr(sys, "platform", "linux")
    assert ffmpeg.torchcodec_state() == (None, ffmpeg.MISSING)


def test_an_unknown_decoder_is_refused(clip):
    with pytest.raises(ConfigError, match=r"'decord'.*auto, torchcodec, pyav"):
        open_video(clip, decoder="decord")


# --- streams that only PyAV reads ---------------------------------------------------------------


def test_frames_without_times_follow_by_the_frame_rate(tmp_path):
    path = write_video(tmp_path / "raw.h264", g="10")
    data, times, failure = everything(path, "auto")
    assert (len(data), failure) == (30, None)
    np.testing.assert_allclose(times, np.arange(30) * 0.04, atol=1e-6)
    with open_video(path) as reader:
        assert len(reader) == 30
        assert np.array_equal(reader.read([20, 3]).data, data[[20, 3]])


def test_an_address_is_streamed(tmp_path):
    write_video(tmp_path / "a.mkv")

    with serving_files(tmp_path) as address:
        data, _, failure = everything(f"{address}/a.mkv", "auto")
        with pytest.raises(VideoError, match=r"none\.mkv cannot be read as a video"):
            open_video(f"{address}/none.mkv")
    assert (len(data), failure) == (30, None)


# --- processes ----------------------------------------------------------------------------------


@needs_torchcodec
def test_a_torchcodec_reader_stays_in_its_process(clip, monkeypatch):
    with open_video(clip, decoder="torchcodec") as reader:
        with pytest.raises(TypeError, match="call open_video there"):
            pickle.dumps(reader)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(VideoError, match="Call open_video inside the worker"):
            reader.read([0])
        with pytest.raises(VideoError, match="Call open_video inside the worker"):
            reader.chunks()
        monkeypatch.undo()
    with pytest.raises(VideoError, match="is closed"):
        reader.read([0])


def test_a_pyav_reader_can_be_sent(clip):
    with open_video(clip, decoder="pyav") as reader:
        other = pickle.loads(pickle.dumps(reader))
        assert np.array_equal(other.read([7]).data, reader.read([7]).data)


# --- arrays -------------------------------------------------------------------------------------


def test_arrays_tensors_and_frames_are_the_same_video():
    array = pictures(10, 64, 48)
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
    frames = Frames(array, 3 + np.arange(10) / 10)
    for source in (array, tensor, frames):
        with open_video(source, frame_rate=10.0) as reader:
            metadata = reader.metadata
            assert (metadata.width, metadata.height, metadata.num_frames) == (64, 48, 10)
            assert (metadata.frame_rate, metadata.duration_s) == pytest.approx((10, 1))
            chunks = list(reader.chunks(4))
            assert [len(chunk) for chunk in chunks] == [4, 4, 2]
            assert np.array_equal(np.concatenate([chunk.data for chunk in chunks]), array)
            times = np.concatenate([chunk.timestamps for chunk in chunks])
            np.testing.assert_allclose(times, np.arange(10) / 10)
            assert np.array_equal(reader.read([3, 3, 0]).data, array[[3, 3, 0]])
            assert len(reader) == 10


def test_an_array_and_a_tensor_are_read_without_a_copy():
    array = pictures(4, 64, 48)
    for source in (array, torch.from_numpy(array).permute(0, 3, 1, 2)):
        with open_video(source) as reader:
            assert all(np.shares_memory(chunk.data, array) for chunk in reader.chunks(2))


@pytest.mark.parametrize(
    ("data", "times", "message"),
    [
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), np.zeros(1), r"\.permute\(0, 2, 3, 1\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), torch.zeros(1), r"timestamps\.numpy\(\)"),
        (np.zeros((1, 3, 4, 4), np.uint8), np.zeros(1), r"\(T, H, W, 3\); got .*\(1, 3, 4, 4\)"),
        (np.zeros((1, 4, 4, 3)), np.zeros(1), "uint8 .*got float64"),
        (np.zeros((1, 4, 4, 3), np.uint8), np.zeros(2), r"shape \(1,\) .*got float64 .*\(2,\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.float32), "float64 .*got float32"),
    ],
)
def test_frames_of_other_types_and_shapes_are_errors(data, times, message):
    with pytest.raises(ValueError, match=message):
        Frames(data, times)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), "float32; use uint8"),
        (torch.zeros(2, 3, 4, 4), "float32; use uint8"),
        (np.zeros((2, 3, 4, 4), np.uint8), r"shape \(2, 3, 4, 4\)"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), r"shape \(2, 4, 4, 3\)"),
        (np.zeros((4, 4, 3), np.uint8), r"shape \(4, 4, 3\)"),
    ],
)
def test_other_arrays_are_refused(source, message):
    with pytest.raises(ConfigError, match=message):
        open_video(source)


def test_no_frames_and_no_rate_are_refused():
    with pytest.raises(VideoError, match="empty"):
        open_video(np.zeros((0, 4, 4, 3), np.uint8))
    with pytest.raises(ConfigError, match="frame rate 0"):
        open_video(np.zeros((1, 4, 4, 3), np.uint8), frame_rate=0)


# --- folders of images --------------------------------------------------------------------------


@pytest.fixture
def image_folder(tmp_path) -> Path:
    """frame_1 … frame_12, the level of each one being ten times its number."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(1, 13):
        suffix = ("png", "bmp", "webp")[i % 3]
        array = np.full((6, 8, 3), 10 * i, np.uint8)
        Image.fromarray(array).save(folder / f"frame_{i}.{suffix}", lossless=True)
    (folder / "notes.txt").write_text("not an image")
    (folder / "._frame_1.png").write_bytes(b"rubbish of a Mac")
    return folder


def test_a_folder_of_images_is_read_in_natural_order(image_folder):
    with open_video(image_folder, frame_rate=5.0) as reader:
        metadata = reader.metadata
        assert (metadata.width, metadata.height, metadata.num_frames) == (8, 6, 12)
        assert (metadata.frame_rate, metadata.decoder) == (5.0, "images")
        chunks = list(reader.chunks(5))
        levels = np.concatenate([chunk.data[:, 0, 0, 0] for chunk in chunks])
        assert levels.tolist() == [10 * i for i in range(1, 13)]
        assert chunks[1].timestamps.tolist() == pytest.approx([1.0, 1.2, 1.4, 1.6, 1.8])
        frames = reader.read([11, 0, 11])
        assert frames.data[:, 0, 0, 0].tolist() == [120, 10, 120]
        assert frames.timestamps.tolist() == pytest.approx([2.2, 0, 2.2])
        assert len(reader.read([])) == 0
        with pytest.raises(IndexError, match="frames are 0 to 11"):
            reader.read([12])


def test_one_image_is_a_video_of_one_frame_and_is_upright(tmp_path):
    array = np.zeros((6, 8, 3), np.uint8)
    array[:3] = 255  # a white band at the top as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    path = tmp_path / "photo.png"
    Image.fromarray(array).save(path, exif=exif)
    with open_video(path) as reader:
        assert len(reader) == 1
        image = reader.read([0]).data[0]
    assert image.shape == (8, 6, 3)
    assert image[0, :, 0].tolist() == [0, 0, 0, 255, 255, 255]


def test_an_image_is_decoded_once(tmp_path, monkeypatch):
    Image.new("RGB", (6, 4)).save(tmp_path / "one.png")
    opened = []
    decode = Image.open
    monkeypatch.setattr(
        Image, "open", lambda *given, **more: opened.append(1) or decode(*given, **more)
    )
    with open_video(tmp_path / "one.png") as reader:
        reader.read([0])
        assert sum(len(chunk.data) for chunk in reader.chunks()) == 1
    assert len(opened) == 1


def test_grey_and_transparent_images_become_rgb(tmp_path):
    Image.new("L", (4, 4), 7).save(tmp_path / "1.png")
    Image.new("RGBA", (4, 4), (1, 2, 3, 0)).save(tmp_path / "2.png")
    with open_video(tmp_path) as reader:
        assert reader.read([0, 1]).data[:, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3]]


def test_a_corrupt_image_is_named(image_folder):
    (image_folder / "frame_3.png").write_bytes((image_folder / "frame_3.png").read_bytes()[:40])
    with open_video(image_folder) as reader, pytest.raises(VideoError, match=r"frame_3\.png"):
        list(reader.chunks())
    (image_folder / "frame_1.bmp").write_text("rubbish")
    with pytest.raises(VideoError, match=r"frame_1\.bmp cannot be decoded as an image"):
        open_video(image_folder)


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(VideoError, match="contains no images"):
        open_video(tmp_path)


# --- cameras ------------------------------------------------------------------------------------


class FakeCamera:
    def __init__(self, frames):
        self.frames = list(frames)

    def isOpened(self):
        return bool(self.frames)

    def read(self):
        return (True, self.frames.pop(0)) if self.frames else (False, None)

    def get(self, _):
        return 30.0

    def release(self):
        self.frames = []


def test_a_camera_gives_rgb_with_times_from_the_clock(monkeypatch):
    blue = np.zeros((4, 6, 3), np.uint8)
    blue[..., 0] = 255  # OpenCV has BGR
    clock = iter([100.0, 100.5, 101.25])
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: FakeCamera([blue] * 4))
    monkeypatch.setattr(camera, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with open_video(0) as reader:
        assert (reader.metadata.width, reader.metadata.height) == (6, 4)
        assert (reader.metadata.num_frames, reader.metadata.decoder) == (None, "camera")
        chunks = reader.chunks(2)
        first = next(chunks)
        assert first.data[0, 0, 0].tolist() == [0, 0, 255]
        assert first.timestamps.tolist() == [0, 0.5]
        assert next(chunks).timestamps.tolist() == [1.25]
        with pytest.raises(
            VideoError, match=r"Camera 0: decoding stopped after 1\.25 s \(frame 3\)"
        ):
            next(chunks)
        with pytest.raises(TypeError, match="has no length"):
            len(reader)
        with pytest.raises(VideoError, match="use chunks"):
            reader.read([0])


def test_a_missing_camera_is_a_device_error(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: FakeCamera([]))
    with pytest.raises(DeviceError, match=r"Camera 7 cannot be opened. Use the index") as caught:
        open_video(7)
    assert caught.value.exit_code == 5


# ------------------------------------------------------------------------------------------------


def damaged(source: Path, target: Path, packets) -> Path:
    """Copies an MP4 and makes the lengths of the NAL units in some packets (in file order) absurd."""
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for packet in packets:
        position, size = places[packet]
        content[position : position + size] = b"\xff" * size
    target.write_bytes(content)
    return target
