"""A model that reads sound learns what only the sound can tell, and one that does not read it does not."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frame_folders import write_frames
from small import accuracy, learning
from sounding_videos import RATE, Track, tones, write_flac, write_sounding

from peclip import PEClip
from peclip.data import Sample, Split
from peclip.data.dataset import Item, VideoDataset, collate
from peclip.data.streams.audio import AudioStream, count_silent, silent_warning
from peclip.data.streams.registry import sources_of
from peclip.errors import ConfigError
from peclip.labels import LabelSet
from peclip.settings import load_settings
from peclip.training.checks import check_streams
from peclip.training.config import TrainConfig
from peclip.video.sound import SOUND_FILE
from peclip.weights.checkpoint import load_model
from peclip.weights.folder import Checkpoint
from peclip.weights.resolve import debug_config

LABELS = LabelSet(("happiness", "sadness"))
HERTZ = {"happiness": 1200.0, "sadness": 300.0}


def write_noise(root: Path, name: str, per_class: int, seed: int) -> Split:
    """Makes videos of grey noise, which tell nothing, with a tone that is high for one class only."""
    random = np.random.default_rng(seed)
    samples = []
    folder = root / name
    for number in range(2 * per_class):
        label = LABELS.names[number % 2]
        grey = np.clip(random.normal(random.integers(40, 120), 10, (2, 32, 32, 3)), 0, 255)
        path = folder / f"{number:03d}"
        write_frames(path, grey.astype(np.uint8))
        sound = tones([HERTZ[label] * random.uniform(0.97, 1.03)], seconds=0.4)
        write_flac(path / SOUND_FILE, sound + random.normal(0, 0.02, len(sound)).astype("f4"))
        samples.append(Sample(path, label, f"{name}/{number:03d}"))
    return Split("folder", None, name, tuple(samples), LABELS)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, Split]:
    root = tmp_path_factory.mktemp("noise")
    return write_noise(root, "train", 24, 0), write_noise(root, "test", 16, 1)


def fresh(encoder: str | None = "debug-wav2vec2", **audio: Any) -> PEClip:
    stream = None if encoder is None else {"encoder": encoder, "weights": None, **audio}
    config = debug_config().derive(
        labels=LABELS.names, num_frames=2, temperature=0.05, audio=stream
    )
    model = load_model(Checkpoint("debug", "", config, None), settings=load_settings())
    return PEClip(model, config, device=torch.device("cpu"), precision="fp32")


def settings(**changes: Any) -> TrainConfig:
    return learning(**{"batch_size": 8} | changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "audio", "learnt"),
    [
        (None, {}, False),
        ("debug-hubert", {}, True),
        ("debug-wav2vec2", {"fusion": "adaptive", "layers": "weighted", "lora_rank": 0}, True),
    ],
    ids=["base", "lora", "frozen"],
)
def test_sound_teaches_what_the_video_cannot(
    splits: tuple[Split, Split], encoder: str | None, audio: dict[str, Any], learnt: bool
) -> None:
    recognizer = fresh(encoder, **audio)
    recognizer.fit(splits[0], config=settings())
    found = accuracy(recognizer, splits[1])
    if learnt:
        assert found >= 0.9
    else:
        # 32 videos: chance is 0.5, and 0.75 is 2.8 standard deviations above it.
        assert found <= 0.75


def test_the_sound_of_a_video_reaches_its_batch(tmp_path: Path) -> None:
    """Videos of different lengths, one without sound; the middle of a long one."""
    samples = []
    for number, seconds in enumerate((1, 3, 0)):
        track = Track(tones([400, 800, 1600][:seconds])) if seconds else None
        path = tmp_path / f"{number}.mov"
        write_sounding(path, [track] if track else [], num_frames=25 * max(1, seconds))
        samples.append(Sample(path, "happiness", str(number)))
    split = Split("folder", None, "train", tuple(samples), LABELS)
    config = fresh(seconds=2.0).config
    assert config.streams == ("audio",)
    data = VideoDataset(
        split, config.preprocess, 2, train=True, labels=LABELS, streams=sources_of(config)
    )
    items = [data[number] for number in range(3)]
    assert all(isinstance(item, Item) for item in items)
    videos, unreadable = collate(items)
    assert not unreadable
    assert videos is not None
    stream = videos.streams["audio"]
    assert isinstance(stream, AudioStream)
    assert stream.lengths == (RATE, 2 * RATE, 0)
    assert stream.samples.shape == (3, 2 * RATE)
    assert not stream.samples[2].any()
    assert not stream.samples[0, RATE:].any()
    # The middle of three seconds, from 0.5 to 2.5 s.
    expected = tones([400, 800, 1600])[RATE // 2 : 5 * RATE // 2]
    np.testing.assert_allclose(stream.samples[1].numpy(), expected, atol=2 / 32767)


def test_sound_is_the_same_for_every_frame_and_both_views() -> None:
    stream = AudioStream.of([np.ones(4, np.float32), None])
    assert stream.mirrored() is stream
    assert stream.at(torch.tensor([[1, 0], [0, 1]])) is stream
    stills = stream.as_stills(3)
    assert stills.lengths == (4, 4, 4, 0, 0, 0)
    assert stills.samples[:3].eq(1).all()
    joined = AudioStream.joined([stream, AudioStream.of([np.ones(2, np.float32)])])
    assert joined.lengths == (4, 0, 2)
    assert joined.samples.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]]


def test_videos_without_sound_are_counted(tmp_path: Path) -> None:
    sounds = [[Track(tones([400]))], [], []]
    paths = [write_sounding(tmp_path / f"{n}.mkv", s, num_frames=3) for n, s in enumerate(sounds)]
    samples = [Sample(path, "sadness", path.name) for path in paths]
    split = Split("folder", None, "train", tuple(samples), LABELS)
    config = fresh().config
    assert count_silent(split) == 2
    told = silent_warning(config, [split])
    assert told is not None
    assert "2 of the 3 videos in folder train" in told
    assert silent_warning(fresh(None).config, [split]) is None
    assert silent_warning(config, [split.with_samples(samples[:1])]) is None
    check_streams(config, settings(), split)
    with pytest.raises(ConfigError, match=r"none of the videos.*prepare --sound.*model\.audio"):
        check_streams(config, settings(), split.with_samples(samples[1:]))
    with pytest.raises(ConfigError, match="reads audio, which cannot be mixed"):
        check_streams(config, settings(mixing={"mixup": 0.5, "fmix": 0}), split)


def test_a_damaged_track_is_masked_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_sounding(tmp_path / "a.mkv", [Track(tones([400]), codec="flac")], num_frames=5)
    content = path.read_bytes()
    start = content.index(b"\xff\xf8")
    while start >= 0:
        content = content[:start] + bytes(64) + content[start + 64 :]
        start = content.find(b"\xff\xf8", start)
    path.write_bytes(content)
    split = Split("folder", None, "train", (Sample(path, "sadness", "a"),), LABELS)
    config = fresh().config
    data = VideoDataset(
        split, config.preprocess, 2, train=False, labels=LABELS, streams=sources_of(config)
    )
    with caplog.at_level(logging.WARNING):
        item = data[0]
    assert isinstance(item, Item)
    stream = item.streams["audio"]
    assert isinstance(stream, AudioStream)
    assert stream.lengths == (0,)
    assert "damaged" in caplog.text
    assert "its sound is not used" in caplog.text
