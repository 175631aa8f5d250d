"""Damaged files: their length, their indices and `data check` agree with what decoding gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import broken_videos
import numpy as np
import pytest
from decoders import each_decoder, each_with_torchcodec
from PIL import Image
from synthetic_videos import pictures, write_video

from peclip.data.check import check_file
from peclip.data.samples import Sample
from peclip.errors import FrameCountError, VideoError
from peclip.video.chosen_frames import read_chosen
from peclip.video.interface import VideoReader
from peclip.video.reader import open_video


def truncated(path: Path, **options: str) -> Path:
    """A video whose end is missing, in the middle of a packet."""
    write_video(path, codec=options.pop("codec", "libx264"), **options)
    path.write_bytes(broken_videos.cut(path.read_bytes(), 0.6))
    return path


def truncated_obu(path: Path) -> Path:
    """A bare AV1 stream without its last 10 bytes, which are within its last frame."""
    if "libsvtav1" not in av.codecs_available:
        pytest.skip("this PyAV has no AV1 encoder")
    write_video(path, codec="libsvtav1", preset="12")
    path.write_bytes(path.read_bytes()[:-10])
    return path


def holed(path: Path) -> Path:
    """A video with damage in its sixth packet, which is the second of its second group."""
    broken_videos.faststart(path, count=30)
    path.write_bytes(broken_videos.damaged_packets(path.read_bytes(), range(5, 6)))
    return path


def holed_packets(path: Path) -> Path:
    """VP9 whose eleventh packet, not a key frame, has a header that no decoder accepts."""
    whole = write_video(
        path.with_name("whole.mkv"), codec="libvpx-vp9", g="10", **{"lag-in-frames": "0"}
    )
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            if number == 12:
                damaged = av.Packet(b"\xff" * packet.size)
                damaged.pts, damaged.dts = packet.pts, packet.dts
                damaged.time_base = packet.time_base
                packet = damaged
            packet.stream = stream
            target.mux(packet)
    return path


def truncated_animation(path: Path) -> Path:
    images = [Image.fromarray(image) for image in pictures(20, 64, 48)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=40)
    path.write_bytes(broken_videos.cut(path.read_bytes(), 0.6))
    return path


def cut_faststart(path: Path) -> Path:
    broken_videos.faststart(path, count=30)
    path.write_bytes(broken_videos.cut(path.read_bytes(), 0.6))
    return path


STOPS: dict[str, Callable[[Path], Path]] = {
    "a.flv": lambda path: truncated(path, bf="0"),
    "a.mp4": cut_faststart,
    "a.png": truncated_animation,
}
"""Decoding stops early, with an error."""
SKIPS: dict[str, Callable[[Path], Path]] = {
    "a.obu": truncated_obu,
    "hole.mp4": holed,
    "hole.mkv": holed_packets,
    "hole.ivf": holed_packets,
}
"""Frames are missing, and no error is raised."""


def streamed(reader: VideoReader) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns all pictures, their times, and the error at their end."""
    data, times, failure = [], [], ""
    try:
        for chunk in reader.chunks():
            data.append(chunk.data)
            times.append(chunk.timestamps)
    except VideoError as error:
        failure = str(error)
    return np.concatenate(data), np.concatenate(times), failure


@pytest.mark.parametrize("name", [*STOPS, *SKIPS])
def test_length_and_indices_agree_with_decoding(name: str, tmp_path: Path) -> None:
    path = (STOPS | SKIPS)[name](tmp_path / name)
    with open_video(path) as reader:
        data, times, failure = streamed(reader)
        assert bool(failure) == (name in STOPS)
    assert len(data) < 30
    with open_video(path) as reader:
        chosen = read_chosen(reader, lambda count: range(count))  # before a whole pass
        assert len(reader) == len(data)
        assert np.array_equal(chosen.data, data)
        np.testing.assert_allclose(chosen.timestamps, times, atol=1e-6)
        picked = reader.read([len(data) - 1, 0, len(data) // 2])
        assert np.array_equal(picked.data, data[[len(data) - 1, 0, len(data) // 2]])
        assert bool(reader.metadata.failure) == bool(failure)
        with pytest.raises(IndexError):
            reader.read([len(data)])


@pytest.mark.parametrize("name", [*STOPS, *SKIPS])
def test_data_check_reports_what_predict_reports(name: str, tmp_path: Path) -> None:
    path = (STOPS | SKIPS)[name](tmp_path / name)
    with open_video(path) as reader:
        data, _, failure = streamed(reader)
    found = [(f.kind, f.detail) for f in check_file(Sample(path, "happiness", "a"))]
    found = [(kind, detail) for kind, detail in found if kind != "short"]
    if not failure:
        assert found == []
        return
    ((kind, detail),) = found
    assert kind == "unreadable"
    assert f"after frame {len(data)}: " in detail
    assert failure.rsplit(": ", 1)[1].rstrip(".") in detail


@each_decoder
def test_damage_found_while_reading_changes_the_length(decoder: str, tmp_path: Path) -> None:
    """30 packets, one of which is damaged; a read of other groups of pictures does not meet it."""
    path = holed(tmp_path / "hole.mp4")
    with open_video(path, decoder=decoder) as reader:
        assert len(reader) == 30
        with pytest.raises(
            FrameCountError, match=r"30 frames in its packets, but 29 can be decoded"
        ):
            reader.read(range(30))
        assert len(reader) == 29
        assert len(reader.read(range(29))) == 29
    with open_video(path, decoder=decoder) as reader:  # known now
        assert len(reader) == 29


def test_the_number_of_threads_does_not_change_the_frames(tmp_path: Path) -> None:
    path = holed(tmp_path / "hole.mp4")
    found = []
    for threads in (1, 2, 0):
        with open_video(path, num_threads=threads) as reader:
            found.append(streamed(reader)[0])
    assert all(np.array_equal(data, found[0]) for data in found)


@each_with_torchcodec("name", ["a.mp4", "hole.mp4", "hole.mkv"])
def test_both_decoders_read_a_damaged_file_alike(name: str, tmp_path: Path) -> None:
    path = (STOPS | SKIPS)[name](tmp_path / name)
    found = []
    for decoder in ("torchcodec", "pyav"):
        with open_video(path, decoder=decoder) as reader:
            data, times, failure = streamed(reader)
            found.append((len(reader), len(data), times.tolist(), failure))
    assert found[0] == found[1]
