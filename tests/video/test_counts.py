"""The length of a video is the number of frames that decoding gives, whatever packets it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from decoders import DECODERS, each_decoder, unless_refused
from field_video import write_fields
from PIL import Image
from synthetic_videos import write_video

from peclip.data.check import check_file
from peclip.data.samples import Sample
from peclip.video.reader import open_video
from peclip.video.readers import pyav_index
from peclip.video.readers.pyav_index import PICTURES


def from_fourth_packet(path: Path) -> Path:
    """H.264 from the fourth packet on; the first whole group of pictures starts with frame 9 of 30."""
    whole = write_video(path.with_name(f"whole{path.suffix}"), g="10")
    return copied(whole, path, lambda packets: packets[3:])


def with_hidden_frames(path: Path) -> Path:
    """VP8 with a copy of every tenth picture before it, which is decoded and not shown."""
    whole = write_video(path.with_name(f"whole{path.suffix}"), codec="libvpx", g="5")

    def hide(packets: list[av.Packet]) -> list[av.Packet]:
        made = []
        for number, packet in enumerate(packets):
            if number % 10 == 5:
                data = bytearray(bytes(packet))
                data[0] &= ~0x10
                hidden = av.Packet(bytes(data))
                hidden.pts = hidden.dts = packet.pts - packet.duration // 2
                hidden.time_base, hidden.is_keyframe = packet.time_base, packet.is_keyframe
                made.append(hidden)
            made.append(packet)
        return made

    return copied(whole, path, hide)


def with_comments(path: Path) -> Path:
    """A GIF of 20 pictures with a comment behind each."""
    images = [Image.new("RGB", (16, 16), (i * 12, 0, 0)) for i in range(20)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, loop=0)
    parts = path.read_bytes().split(b"\x21\xf9\x04")
    comment = b"\x21\xfe\x05hello\x00"
    content = (comment + b"\x21\xf9\x04").join(parts)
    path.write_bytes(content[:-1] + comment + content[-1:])
    return path


def copied(
    source: Path, target: Path, change: Callable[[list[av.Packet]], list[av.Packet]]
) -> Path:
    with av.open(str(source)) as video, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(video.streams.video[0])
        for packet in change([p for p in video.demux(video=0) if p.size]):
            packet.stream = stream
            out.mux(packet)
    return target


VIDEOS: dict[str, tuple[Callable[[Path], Path], int]] = {
    "fields.ts": (write_fields, 30),
    "fields.mkv": (write_fields, 30),
    "fields.mp4": (write_fields, 30),
    "middle.ts": (from_fourth_packet, 21),
    "middle.mkv": (from_fourth_packet, 21),
    "hidden.mkv": (with_hidden_frames, 30),
    "hidden.webm": (with_hidden_frames, 30),
    "comments.gif": (with_comments, 20),
    "b-frames.avi": (lambda path: write_video(path, codec="mpeg4", bf="2"), 30),
    "raw.h264": (write_video, 30),
}


@pytest.fixture(params=VIDEOS)
def counted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int]:
    make, count = VIDEOS[request.param]
    return make(tmp_path / request.param), count


@each_decoder
def test_the_length_is_what_decoding_gives(decoder: str, counted: tuple[Path, int]) -> None:
    path, count = counted
    with unless_refused(decoder):
        compare_with_decoding(path, count, decoder)


def compare_with_decoding(path: Path, count: int, decoder: str) -> None:
    with open_video(path, decoder=decoder) as reader:
        chunks = list(reader.chunks())
        data = np.concatenate([chunk.data for chunk in chunks])
        times = np.concatenate([chunk.timestamps for chunk in chunks])
        assert len(reader) == len(data) == count
        chosen = [count - 1, 0, count // 2]
        frames = reader.read(chosen)
    assert np.array_equal(frames.data, data[chosen])
    np.testing.assert_allclose(frames.timestamps, times[chosen], rtol=0, atol=1e-6)


@pytest.mark.skipif(len(DECODERS) < 2, reason="compares two decoders")
def test_both_decoders_count_alike(counted: tuple[Path, int]) -> None:
    path, count = counted
    lengths = set()
    for decoder in DECODERS:
        with unless_refused(decoder), open_video(path, decoder=decoder) as reader:
            lengths.add(len(reader))
    assert lengths == {count}


def test_a_check_of_the_data_finds_no_fault(counted: tuple[Path, int]) -> None:
    path, _ = counted
    assert check_file(Sample(path, "happiness", "a")) == []


@each_decoder
@pytest.mark.parametrize("name", ["plain.mp4", "late.mkv", "pause.mp4", "animation.gif"])
def test_usual_videos_are_counted_without_decoding(
    name: str, decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {"late.mkv": 5000, "pause.mp4": 0}.get(name, 0)
    times = [late + 40 * i + (name == "pause.mp4" and i > 9) * 60_000 for i in range(30)]
    options = {"codec": "gif", "pix_fmt": "rgb8"} if name.endswith("gif") else {}
    path = write_video(tmp_path / name, times_ms=times, **options)
    monkeypatch.setattr("peclip.video.readers.pyav.decoded_index", None)
    with open_video(path, decoder=decoder) as reader:
        assert len(reader) == 30


def test_a_video_is_decoded_once_to_count_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_fields(tmp_path / "fields.ts")
    decoded: list[Path] = []
    index = pyav_index.decoded_index
    monkeypatch.setattr(
        "peclip.video.readers.pyav.decoded_index",
        lambda *given: decoded.append(path) or index(*given),
    )
    for _ in range(2):
        with open_video(path) as reader:
            assert len(reader) == 30
    assert len(decoded) == 1
    write_fields(path, 20)  # another content under the same name
    with open_video(path) as reader:
        assert len(reader) == 20


def test_vp9_packets_that_show_nothing() -> None:
    """Uncompressed header: marker 10, profile 00, show_existing_frame, frame_type, show_frame, error mode."""
    shows = PICTURES["vp9"]
    assert shows(memoryview(bytes([0b1000_0010, 0])))  # a key frame
    assert not shows(memoryview(bytes([0b1000_0000, 0])))
    assert shows(memoryview(bytes([0b1000_1000])))  # shows an earlier frame
    assert shows(memoryview(bytes([0b1011_0001, 0])))  # profile 3: a reserved bit follows
    assert not shows(memoryview(bytes([0b1011_0010, 0])))
    assert shows(memoryview(bytes([0b1000_0000, 0, 0b1100_0001])))  # a superframe


def test_a_recording_that_starts_between_key_frames(shared_data: Path) -> None:
    path = shared_data / "hard" / "starts_mid_gop.ts"
    with open_video(path) as reader:
        assert len(reader) == sum(len(chunk) for chunk in reader.chunks()) == 100
        assert len(reader.read(range(0, 100, 9))) == 12
    assert check_file(Sample(path, "happiness", "a")) == []
