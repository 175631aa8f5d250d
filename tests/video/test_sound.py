"""Sound lands in the window in which it is heard: every second of these videos has a tone of its own."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from sounding_videos import RATE, Track, loudest, tones, write_sounding

from peclip.video.reader import open_video
from peclip.video.readers.pyav_sound import LEAST_S, SoundReader
from peclip.video.sound import SOUND_FILE, find_sound, has_sound, middle, read_whole_sound
from peclip.video.writers.sound_file import write_sound

HERTZ = (400, 800, 1600)


def start_of(path: Path) -> float:
    with open_video(path) as video:
        return video.metadata.start_s


def heard(path: Path, start: float, end: float, rate: int = RATE) -> NDArray[np.float32]:
    with SoundReader(path, rate, origin_s=start_of(path)) as reader:
        samples = reader.read(start, end)
    assert samples is not None
    assert samples.dtype == np.float32
    return samples


def test_samples_are_those_that_were_written(tmp_path: Path) -> None:
    """Without resampling and compression, to within a step of 16 bits."""
    written = tones(HERTZ)
    path = write_sounding(tmp_path / "a.mkv", [Track(written)])
    for start, end in ((0.0, 3.0), (0.5, 1.5), (1.0, 2.0), (1.23, 1.87)):
        samples = heard(path, start, end)
        first = round(start * RATE)
        assert len(samples) == round(end * RATE) - first
        expected = written[first : first + len(samples)]
        np.testing.assert_allclose(samples, expected, atol=1.5 / 32767)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "video"),
    [
        ("a.mkv", "pcm_s16le", 44_100, "libx264"),
        ("a.mov", "pcm_s16le", 8000, "libx264"),
        ("a.mp4", "aac", 48_000, "libx264"),
        ("a.mp4", "aac", 16_000, "libx264"),
        ("a.mkv", "flac", 16_000, "libx264"),
        ("a.flv", "libmp3lame", 44_100, "flv1"),
    ],
)
def test_a_tone_is_heard_in_its_second(
    tmp_path: Path, name: str, codec: str, rate: int, video: str
) -> None:
    track = Track(tones(HERTZ, rate=rate), rate=rate, codec=codec)
    path = write_sounding(tmp_path / name, [track], codec=video)
    for second, hertz in enumerate(HERTZ):
        samples = heard(path, second, second + 1)
        assert len(samples) == RATE
        assert loudest(samples) == pytest.approx(hertz, abs=1)
        # Half of a full-scale sine: 0.5 / sqrt(2).
        middle_part = samples[RATE // 4 : 3 * RATE // 4]
        assert np.sqrt(np.mean(middle_part**2)) == pytest.approx(0.354, abs=0.02)


def click_at(second: float, rate: int) -> NDArray[np.float32]:
    """Silence, with one short burst whose centre is at a time."""
    time = np.arange(3 * rate) / rate - second
    return (0.8 * np.exp(-((time / 5e-4) ** 2))).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("target", [16_000, 48_000])
def test_resampling_keeps_the_time_to_within_a_sample(
    tmp_path: Path, rate: int, target: int
) -> None:
    path = write_sounding(tmp_path / "a.mkv", [Track(click_at(1.5, rate), rate=rate)])
    samples = heard(path, 1.0, 2.0, target)
    weights = np.abs(samples) ** 2
    centre = 1.0 + np.sum(np.arange(len(samples)) * weights) / weights.sum() / target
    assert centre == pytest.approx(1.5, abs=1 / min(rate, target))


def test_overlapping_windows_share_samples(tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mp4", [Track(tones(HERTZ), codec="aac")])
    with SoundReader(path, RATE) as reader:
        first, second = reader.read(0.0, 1.0), reader.read(0.5, 1.5)
        assert first is not None
        assert second is not None
        np.testing.assert_array_equal(first[RATE // 2 :], second[: RATE // 2])
        again = reader.read(0.0, 1.0)  # before the last one: the file is read again
        assert again is not None
        np.testing.assert_array_equal(again, first)


def test_memory_is_bounded_by_the_span(tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mkv", [Track(tones([500] * 20))], num_frames=500)
    with SoundReader(path, RATE) as reader:
        for second in range(19):
            reader.read(second, second + 1)
            held = sum(len(samples) for _, samples in reader._held)
            assert held <= RATE + 2 * 4096


def test_sound_that_starts_late_and_ends_early_is_padded(tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mkv", [Track(tones([800]), start_s=0.75)])
    samples = heard(path, 0.0, 3.0)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    assert loud[0] / RATE == pytest.approx(0.75, abs=2 / RATE)
    assert loud[-1] / RATE == pytest.approx(1.75, abs=1e-3)
    assert not samples[: loud[0] - 1].any()
    with SoundReader(path, RATE) as reader:
        assert reader.read(0.0, 0.5) is None, "no sound yet"
        assert reader.read(0.5, 1.0) is not None
        assert reader.read(1.75 - LEAST_S / 2, 2.5) is None, "less than the least"
        assert reader.read(2.0, 3.0) is None
        assert reader.problem is None


def test_times_are_counted_from_the_first_frame(tmp_path: Path) -> None:
    """A video that starts a second after its sound, at irregular times."""
    times = [1000 + 40 * n + 15 * (n % 3) for n in range(40)]
    path = write_sounding(tmp_path / "a.mkv", [Track(tones(HERTZ))], times_ms=times)
    assert start_of(path) == pytest.approx(1.0, abs=1e-3)
    assert loudest(heard(path, 0.0, 1.0)) == pytest.approx(800, abs=1)
    assert loudest(heard(path, 1.0, 2.0)) == pytest.approx(1600, abs=1)
    with SoundReader(path, RATE) as reader:  # in the time of the container
        samples = reader.read(0.0, 1.0)
    assert samples is not None
    assert loudest(samples) == pytest.approx(400, abs=1)


def test_a_gap_is_silent_and_what_follows_keeps_its_time(tmp_path: Path) -> None:
    track = Track(tones(HERTZ), gaps=((1.0, 1.5),))
    path = write_sounding(tmp_path / "a.mkv", [track])
    samples = heard(path, 0.0, 3.0)
    assert np.abs(samples[round(1.01 * RATE) : round(1.48 * RATE)]).max() < 1e-3
    np.testing.assert_allclose(
        samples[round(1.6 * RATE) : round(2.9 * RATE)],
        track.samples[round(1.6 * RATE) : round(2.9 * RATE)],
        atol=0.25 * 2 * np.pi * 1600 / 1000,  # Matroska's stamps are whole milliseconds
    )
    assert loudest(samples[2 * RATE :]) == pytest.approx(1600, abs=1)


def test_stereo_becomes_mono(tmp_path: Path) -> None:
    left, right = tones([400]), tones([800])
    path = write_sounding(tmp_path / "a.mkv", [Track(np.stack([left, right], 1))])
    samples = heard(path, 0.0, 1.0)
    np.testing.assert_allclose(samples, (left + right) / 2, atol=2 / 32767)


@pytest.mark.parametrize(("layout", "channels"), [("5.1", 6), ("7.1", 8), ("22.2", 24)])
def test_surround_sound_becomes_mono(layout: str, channels: int, tmp_path: Path) -> None:
    tone = tones([440], rate=48_000)
    whole = np.round(np.outer(tone, np.arange(channels) / (channels - 1)) * 32767).astype(np.int16)
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(whole.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
    with SoundReader(tmp_path / "a.wav", 48_000) as reader:
        found = reader.read(0, 1)
    assert found is not None
    np.testing.assert_allclose(found, tone / 2, atol=1e-4)  # the mean of 0 to 1 is a half


@pytest.mark.parametrize(
    ("rate", "channels", "says"),
    [(1, 1, "fewer than 1000"), (2**31 - 1, 1, "ends early"), (16_000, 65, "ends early")],
)
def test_a_header_that_no_sound_has(rate: int, channels: int, says: str, tmp_path: Path) -> None:
    data = bytes(2 * 16_000 * channels)
    about = struct.pack(
        "<IHHIIHH", 16, 1, channels, rate, rate * 2 % 2**32, 2 * channels % 2**16, 16
    )
    header = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + about
    (tmp_path / "a.wav").write_bytes(header + b"data" + struct.pack("<I", len(data)) + data)
    with SoundReader(tmp_path / "a.wav", RATE) as reader:
        assert reader.read(0, 1) is None
        assert reader.problem is not None
        assert says in reader.problem


def test_the_first_of_several_tracks_is_read(tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mkv", [Track(tones([400])), Track(tones([1600]))])
    with SoundReader(path, RATE) as reader:
        assert reader.num_tracks == 2
        samples = reader.read(0.0, 1.0)
    assert samples is not None
    assert loudest(samples) == pytest.approx(400, abs=1)


def test_a_video_without_sound(tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mp4", [])
    with SoundReader(path, RATE) as reader:
        assert reader.num_tracks == 0
        assert reader.read(0.0, 1.0) is None
        assert reader.problem == "it has no sound"
    assert not has_sound(path)
    assert read_whole_sound(path, RATE, 10.0) == (None, None)


def test_damaged_packets_are_gaps(tmp_path: Path) -> None:
    """The picture and the other packets of the sound are intact."""
    path = write_sounding(tmp_path / "a.mkv", [Track(tones(HERTZ), codec="flac")])
    content = bytearray(path.read_bytes())
    place = content.index(b"\xff\xf8", len(content) // 2)  # a FLAC frame
    content[place : place + 600] = bytes(600)
    path.write_bytes(content)
    with SoundReader(path, RATE) as reader:
        samples = reader.read(0.0, 3.0)
        assert samples is not None
        assert np.isfinite(samples).all()
        assert reader.problem is not None
        assert loudest(samples[: RATE // 2]) == pytest.approx(400, abs=2)


def test_a_truncated_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mkv", [Track(tones(HERTZ))])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with SoundReader(path, RATE) as reader:
        samples = reader.read(0.0, 3.0)
    assert samples is not None
    assert not samples[-RATE // 2 :].any()


def test_the_whole_sound_is_that_from_the_first_frame_to_the_last(tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mkv", [Track(tones([400] * 5))])  # 3 s of frames
    samples, problem = read_whole_sound(path, RATE, 10.0)
    assert problem is None
    assert samples is not None
    assert len(samples) / RATE == pytest.approx(
        5, abs=0.1
    )  # Matroska states the end of the container
    path = write_sounding(tmp_path / "a.mp4", [Track(tones([*HERTZ, 400, 400]), codec="aac")])
    samples, _ = read_whole_sound(path, RATE, 10.0)
    assert samples is not None
    assert len(samples) / RATE == pytest.approx(3, abs=0.01)
    cut, _ = read_whole_sound(path, RATE, 1.0)
    assert cut is not None
    assert len(cut) == RATE
    assert loudest(cut) == pytest.approx(800, abs=1), "the middle"


def test_the_middle_of_a_span() -> None:
    assert middle(1.0, 2.0, 10.0) == (1.0, 2.0)
    assert middle(1.0, 7.0, 2.0) == (3.0, 5.0)


def test_sound_next_to_frames(tmp_path: Path) -> None:
    """Written from the first frame on, at 48 kHz, and found in the folder."""
    times = [1000 + 40 * n for n in range(50)]
    path = write_sounding(tmp_path / "a.mkv", [Track(tones(HERTZ))], times_ms=times)
    folder = tmp_path / "a"
    folder.mkdir()
    assert find_sound(folder) is None
    assert write_sound(path, folder / SOUND_FILE)
    assert find_sound(folder) == folder / SOUND_FILE
    assert has_sound(folder)
    samples, problem = read_whole_sound(folder, RATE, 10.0)
    assert problem is None
    assert samples is not None
    assert loudest(samples[:RATE]) == pytest.approx(800, abs=1)
    assert loudest(samples[RATE : 2 * RATE]) == pytest.approx(1600, abs=1)


def test_a_folder_gets_no_sound_from_a_silent_video(tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mp4", [])
    assert not write_sound(path, tmp_path / SOUND_FILE)
    assert not (tmp_path / SOUND_FILE).exists()
    assert list(tmp_path.iterdir()) == [path]
