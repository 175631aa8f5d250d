"""Stamps of containers become times that always rise; one wrong stamp does not move the other frames."""

from __future__ import annotations

import itertools
import logging
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from decoders import each_decoder
from PIL import Image
from synthetic_videos import pictures, write_video

from peclip import PEClip, PredictOptions
from peclip.errors import VideoError
from peclip.video.frames import Frames
from peclip.video.reader import open_video
from peclip.video.readers.clock import Clock
from peclip.video.readers.streaming import Broken

Stamps = list[float | None]


def times(stamps: Stamps) -> list[float]:
    clock = Clock("a.ts", 10.0)
    return [time for _, time, _ in clock.timed((None, stamp, None) for stamp in stamps)]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([5.0, 5.1, 5.2, 5.5], [0, 0.1, 0.2, 0.5]),
        ([0, 0.1, 1000.0, 0.3, 0.4], [0, 0.1, 0.2, 0.3, 0.4]),  # one stamp far ahead
        ([0, 0.1, -1000.0, 0.3, 0.4], [0, 0.1, 0.2, 0.3, 0.4]),  # one stamp far behind
        ([0, 0.1, 9.0, 0.13, 0.23], [0, 0.1, 0.115, 0.13, 0.23]),  # before the next frame
        ([1000.0, 0, 0.1, 0.2], [0, 0.1, 0.2, 0.3]),  # the first stamp
        ([0, 0.1, 700.0, 700.1], [0, 0.1, 700.0, 700.1]),  # a pause
        ([0, 0.1, 700.0], [0, 0.1, 700.0]),
        ([90.0, 90.1, 90.2, 0, 0.5, 0.6], [0, 0.1, 0.2, 0.3, 0.8, 0.9]),  # recordings joined
        ([0, 0.1, 900.0, 5.0, 5.1], [0, 0.1, 0.2, 5.0, 5.1]),
        ([0, 5.0, 9.0, 1.0, 1.1], [0, 5.0, 9.0, 9.1, 9.2]),
        # several stamps far ahead, up to eight of them
        ([0, 0.1, 1000.2, 1000.3, 0.4, 0.5], [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ([0, *(9.1 + i / 10 for i in range(8)), 0.9, 1.0], [i / 10 for i in range(11)]),
        ([0, *(9.1 + i / 10 for i in range(9)), 1.0], [0, *(9.1 + i / 10 for i in range(10))]),
        (
            [0, 0.1, 50.0, 50.1, 0.16, 0.26],
            [0, 0.1, 0.12, 0.14, 0.16, 0.26],
        ),  # before the next frame
        ([0, 0.1, 50.0, None, 50.1, 0.5], [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ([0, 0.1, 50.0, 50.1, 1.4], [0, 0.1, 0.2, 0.3, 1.4]),  # a second after 0.4
        ([0, 0.1, 50.0, 50.1, 1.6, 1.7], [0, 0.1, 50.0, 50.1, 50.2, 50.3]),  # later: joined
        ([0, 0.1, 50.0, 50.1, 51.2, 0.5, 0.6], [0, 0.1, 50.0, 50.1, 51.2, 51.3, 51.4]),  # confirmed
        ([0, 0.1, -50.0, -49.9, 0.4, 0.5], [0, 0.1, 0.2, 0.3, 0.4, 0.5]),  # far behind
        ([90.0, 90.1, 0, 0.1, 60.0], [0, 0.1, 0.2, 0.3, 60.2]),  # joined, then a pause
        ([0, 0, 0.2, 0.2, 0.4], [0, 0.1, 0.2, 0.3, 0.4]),  # each stamp twice
        ([None, None, None], [0, 0.1, 0.2]),
        ([None, 3.0, 3.1, None, 3.3], [0, 0.1, 0.2, 0.3, 0.4]),
        ([0, float("nan"), 0.2, 1e12, 0.4], [0, 0.1, 0.2, 0.3, 0.4]),
        ([7.0], [0]),
        ([], []),
    ],
)
def test_times_of_stamps(stamps: Stamps, expected: list[float]) -> None:
    assert times(stamps) == pytest.approx(expected)


def test_times_always_rise() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        stamps = [
            float(draw.choice([0, 1, 2, 50, 1e4, -3, 1e10])) * draw.random() for _ in range(9)
        ]
        found = times(stamps)
        assert all(a < b for a, b in itertools.pairwise(found)), stamps


def test_frames_are_given_before_the_error_in_which_they_end() -> None:
    def broken() -> object:
        yield "a", 3.0, 0.1
        yield "b", 3.1, 0.1
        raise Broken("the end is missing")

    seen = []
    with pytest.raises(
        VideoError, match=r"a.ts: decoding stopped after 0.10 s \(frame 2\): the end is missing"
    ):
        seen.extend(Clock("a.ts", 25.0).timed(broken()))  # type: ignore[arg-type]
    assert [name for name, _, _ in seen] == ["a", "b"]


def test_an_exception_of_a_decoder_propagates_after_the_frames_before_it() -> None:
    def broken() -> object:
        yield "a", 3.0, 0.1
        yield "b", 3.1, 0.1
        raise IndexError("of the decoder")

    seen = []
    with pytest.raises(IndexError, match="of the decoder"):
        seen.extend(Clock("a.ts", 25.0).timed(broken()))  # type: ignore[arg-type]
    assert [(name, time) for name, time, _ in seen] == [("a", 0), ("b", pytest.approx(0.1))]


def test_a_duration_of_days_is_unknown() -> None:
    frames = [("a", 0.0, 5.0), ("b", 5.0, 1e6), ("c", 6.0, -1.0), ("d", 7.0, None)]
    assert [shown for _, _, shown in Clock("a", None).timed(frames)] == [5.0, 0, 0, 0]


@pytest.mark.parametrize(
    ("count", "rate", "warns"), [(600, 90_000, 1), (20, 90_000, 1), (600, 240, 0), (3, 90_000, 0)]
)
def test_implausible_stamps_give_one_warning(
    count: int, rate: float, warns: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        times([index / rate for index in range(count)])
    assert len(caplog.records) == warns
    assert all("a.ts has" in text and "ffmpeg -r 25" in text for text in caplog.messages)


def test_frames_are_held_only_after_a_jump_that_no_duration_announces() -> None:
    decoded: list[float] = []

    def live(jump: float) -> object:
        decoded.clear()
        for stamp in [0.0, 0.1, *(0.2 + jump + i / 10 for i in range(20))]:
            decoded.append(stamp)
            yield None, stamp, 0.1 if stamp != 0.1 or jump < 20 else jump

    for jump, ahead in ((0.0, 1), (0.9, 1), (10.0, 8), (20.0, 1)):
        clock = Clock("rtsp://a", 10.0).timed(live(jump))  # type: ignore[arg-type]
        found = [next(clock)[1] for _ in range(3)]
        assert found == pytest.approx([0, 0.1, 0.2 + jump])
        assert len(decoded) == 3 + ahead


def shifted(path: Path, number: int, by: float, **options: str) -> Path:
    """A video of 30 frames, one of whose packets has a wrong time."""
    whole = write_video(path.with_name(f"whole{path.suffix}"), bf="0", **options)
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(p for p in source.demux(video=0) if p.size):
            if index == number:
                assert packet.pts is not None
                assert packet.time_base is not None
                packet.pts += round(by / packet.time_base)
            packet.stream = stream
            target.mux(packet)
    return path


@each_decoder
@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
@pytest.mark.parametrize("by", [1000.0, 1.0, 0.3])
def test_one_wrong_stamp_leaves_the_other_frames(
    by: float, name: str, decoder: str, tmp_path: Path
) -> None:
    if decoder == "torchcodec" and name.endswith("ts"):
        pytest.skip("torchcodec does not read MPEG-TS exactly")
    path = shifted(tmp_path / name, 12, by)
    with open_video(path, decoder=decoder) as reader:
        chunks = list(reader.chunks())
        data = np.concatenate([chunk.data for chunk in chunks])
        found = np.concatenate([chunk.timestamps for chunk in chunks])
        np.testing.assert_allclose(found, np.arange(30) * 0.04, atol=1e-4)
        assert len(reader) == 30
    chosen = [20, 12, 15]  # 15 is between the wrong time and the right one
    with open_video(path, decoder=decoder) as reader:
        frames = reader.read(chosen)
    assert np.array_equal(frames.data, data[chosen])
    np.testing.assert_allclose(frames.timestamps, found[chosen], atol=1e-4)


@each_decoder
@pytest.mark.parametrize(
    ("name", "movflags"), [("a.mkv", ""), ("a.mp4", "frag_keyframe+empty_moov"), ("a.mov", "")]
)
def test_a_video_behind_itself_is_read_as_it_is_streamed(
    name: str, movflags: str, decoder: str, tmp_path: Path
) -> None:
    """Two recordings in one file: the times start again.

    A MOV with one index ends with the first one; of fragments, FFmpeg skips some where the second one begins.
    """
    options = {"movflags": movflags} if movflags else {}
    once = write_video(tmp_path / f"once-{name}", container_options=options, g="10", bf="0")
    path = tmp_path / name
    path.write_bytes(once.read_bytes() * 2)
    with open_video(path, decoder=decoder) as reader:
        chunks = list(reader.chunks())
        data = np.concatenate([chunk.data for chunk in chunks])
        found = np.concatenate([chunk.timestamps for chunk in chunks])
        count = len(data)
        assert len(reader) == count
        assert count in {"a.mov": [30], "a.mkv": [60], "a.mp4": range(50, 61)}[name]
        np.testing.assert_allclose(found, np.arange(count) * 0.04, atol=2e-3)
    chosen = [count - 1, 0, 14, count // 2]
    with open_video(path, decoder=decoder) as reader:
        frames = reader.read(chosen)
    assert np.array_equal(frames.data, data[chosen])
    np.testing.assert_allclose(frames.timestamps, found[chosen], atol=1e-4)


def with_wrong_stamps(path: Path, wrong: range, by: float) -> Path:
    """A video of 30 key frames that states its rate of 25 frames a second."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"bf": "0", "g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frames = [av.VideoFrame.from_ndarray(image) for image in pictures(30, 64, 48)]
        packets = [packet for frame in [*frames, None] for packet in stream.encode(frame)]
        for index, packet in enumerate(packets):
            if index in wrong:
                assert packet.pts is not None
                assert packet.time_base is not None
                packet.pts += round(by / packet.time_base)
            target.mux(packet)
    return path


@each_decoder
@pytest.mark.parametrize(
    ("wrong", "by"),
    [
        (range(12, 14), 1000.0),
        (range(12, 17), 1000.0),
        (range(12, 14), 5.0),
        (range(1), 1000.0),
        (range(1), 0.5),
    ],
)
def test_wrong_stamps_in_a_row_or_on_the_first_frame(
    wrong: range, by: float, decoder: str, tmp_path: Path
) -> None:
    if by == 0.5 and decoder == "torchcodec":
        decoder = "auto"  # torchcodec loses this first frame when it opens the file, and rejects it
    path = with_wrong_stamps(tmp_path / "a.mkv", wrong, by)
    whole = with_wrong_stamps(tmp_path / "whole.mkv", range(0), by)
    with open_video(whole, decoder="pyav") as reader:
        data = np.concatenate([chunk.data for chunk in reader.chunks()])
    with open_video(path, decoder=decoder) as reader:
        chunks = list(reader.chunks())
        found = np.concatenate([chunk.timestamps for chunk in chunks])
        np.testing.assert_allclose(found, np.arange(30) * 0.04, atol=2e-3)
        shown = np.concatenate([chunk.data for chunk in chunks]).astype(int)
        assert np.abs(shown - data).mean(axis=(1, 2, 3)).max() < 2
        assert len(reader) == 30


def test_frames_that_torchcodec_does_not_give_are_read_with_pyav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decoders = pytest.importorskip("torchcodec.decoders")
    give = decoders.VideoDecoder.get_frame_at

    def give_less(self: object, index: int) -> object:
        if index >= 28:
            raise IndexError("no more frames left to decode")
        return give(self, index)

    path = with_wrong_stamps(tmp_path / "a.mkv", range(0), 0)
    with open_video(path, decoder="torchcodec") as reader:
        monkeypatch.setattr(decoders.VideoDecoder, "get_frame_at", give_less)
        found = np.concatenate([chunk.timestamps for chunk in reader.chunks()])
    np.testing.assert_allclose(found, np.arange(30) * 0.04, atol=2e-3)
    assert ["returned only 28 of 30 frames" in text for text in caplog.messages] == [True]


def test_the_file_with_one_wrong_stamp(shared_data: Path) -> None:
    with open_video(shared_data / "hard" / "one_pts_glitch.ts") as reader:
        found = np.concatenate([chunk.timestamps for chunk in reader.chunks()])
        assert reader.read([71, 30]).timestamps == pytest.approx([71 / 24, 30 / 24], abs=1e-4)
    np.testing.assert_allclose(found, np.arange(72) / 24, atol=1e-4)


# --- durations ----------------------------------------------------------------------------------


def last_durations(path: Path, decoder: str) -> list[float]:
    with open_video(path, decoder=decoder) as reader:
        (chunk,) = reader.chunks()
    assert chunk.durations is not None
    return [round(value, 3) for value in chunk.durations.tolist()]


@each_decoder
def test_frames_have_the_durations_of_their_container(decoder: str, tmp_path: Path) -> None:
    images = [Image.new("RGB", (16, 16), (i * 80, 0, 0)) for i in range(3)]
    gif = tmp_path / "a.gif"
    images[0].save(gif, save_all=True, append_images=images[1:], duration=[100, 200, 1500])
    assert last_durations(gif, decoder) == [0.1, 0.2, 1.5]
    still = tmp_path / "still.mp4"
    with av.open(str(still), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        frame = av.VideoFrame.from_ndarray(pictures(1, 64, 48)[0], format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 1000)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            packet.duration = 5000
            container.mux(packet)
    assert last_durations(still, decoder) == [5.0]


@each_decoder
@pytest.mark.parametrize("name", ["slow.mp4", "slow.mkv", "slow.mov"])
def test_the_last_frame_of_uneven_b_frames_is_shown_as_long_as_its_container_says(
    name: str, decoder: str, tmp_path: Path
) -> None:
    """Eight frames, 5 s apart; FFmpeg gives each packet 1/25 s, and MP4 the time to the next decoding."""
    path = write_video(
        tmp_path / name, pictures(8, 64, 48), times_ms=[5000 * i for i in range(8)], bf="2"
    )
    with open_video(path, decoder=decoder) as reader:
        (chunk,) = reader.chunks()
    assert chunk.durations is not None
    assert chunk.timestamps[-1] + chunk.durations[-1] == pytest.approx(35.04, abs=0.002)


def test_arrays_keep_their_durations() -> None:
    data, shown = np.zeros((3, 4, 4, 3), np.uint8), np.array([0.1, 0.1, 2.0])
    with open_video(Frames(data, np.array([0, 0.1, 0.2]), shown)) as reader:
        assert [chunk.durations.tolist() for chunk in reader.chunks(2)] == [[0.1, 0.1], [2.0]]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"Durations must be float64 of shape \(3,\)"):
        Frames(data, np.array([0, 0.1, 0.2]), shown[:2])


# --- the start of the container -----------------------------------------------------------------


@each_decoder
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_video_that_starts_after_its_sound(decoder: str, name: str, tmp_path: Path) -> None:
    late = write_video(tmp_path / name, times_ms=[2000 + 40 * i for i in range(30)], audio=True)
    alone = write_video(tmp_path / f"alone-{name}", times_ms=[2000 + 40 * i for i in range(30)])
    with open_video(late, decoder=decoder) as reader, open_video(alone, decoder=decoder) as other:
        assert reader.metadata.start_s == pytest.approx(2.0, abs=0.15)  # the coder delays the sound
        assert other.metadata.start_s == pytest.approx(0.0, abs=1e-6)
        assert next(iter(reader.chunks())).timestamps[0] == 0


@each_decoder
def test_the_file_whose_video_starts_at_two_seconds(decoder: str, shared_data: Path) -> None:
    with open_video(shared_data / "hard" / "video_starts_at_2s.mp4", decoder=decoder) as reader:
        assert reader.metadata.start_s == pytest.approx(2.0, abs=1e-6)


def test_times_that_were_never_set_give_one_warning(
    shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """1,000 frames, 1/90,000 s apart; torchcodec refuses their pixels of 3:4."""
    with open_video(shared_data / "hard/unset_timestamps_90000fps.mp4") as reader:
        assert len(reader) == 1000
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            found = [chunk.timestamps for chunk in reader.chunks()]
    assert sum(map(len, found)) == 1000
    assert found[-1][-1] == pytest.approx(999 / 90_000, abs=1e-3)
    assert sum("implausible" in message for message in caplog.messages) == 1


def unset(path: Path, count: int) -> Path:
    """Frames that are one unit of the container's clock apart, 1/90,000 s, as if nobody had set their times."""
    images = pictures(50, 160, 120)
    with av.open(str(path), "w", options={"video_track_timescale": "90000"}) as container:
        stream = container.add_stream("libx264", options={"preset": "ultrafast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(images[number % 50], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@each_decoder
@pytest.mark.parametrize("name", ["a.mov", "a.ts"])
def test_frames_at_one_time_take_little_memory(
    name: str, decoder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """800 whole frames of 160x120 are 46 MB, in one window of a hundredth of a second."""
    if decoder == "torchcodec" and name.endswith("ts"):
        pytest.skip("torchcodec does not read MPEG-TS exactly")
    path = unset(tmp_path / name, 800)
    model = PEClip.from_pretrained("debug", device="cpu")
    options = PredictOptions(decoder=decoder, face_crop=False)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        rows = model.predict(path, options).rows
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [row.end_frame for row in rows] == [799]
    assert sum("implausible" in message for message in caplog.messages) == 1
    assert peak < 15e6
