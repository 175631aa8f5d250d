"""FineCLIPER learns what only one of its streams can tell, and a model without that stream does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from small import accuracy, learning

from peclip import FineCLIPER
from peclip.data import Sample, Split
from peclip.data.dataset import Item, Unreadable, VideoDataset
from peclip.data.streams.parts import PartsStream
from peclip.data.streams.registry import sources_of
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet
from peclip.settings import load_settings
from peclip.training.checks import check_streams
from peclip.training.config import TrainConfig
from peclip.training.distributed import SINGLE, World
from peclip.video.parts import Parts, parts_path, save_parts
from peclip.weights.checkpoint import load_model
from peclip.weights.folder import Checkpoint
from peclip.weights.resolve import debug_config

LABELS = LabelSet(("happiness", "surprise"))
SAID = {
    "happiness": ("the corners of the mouth rise", "cheeks are lifted and the mouth widens"),
    "surprise": ("the brows go up", "eyes open wide and the jaw drops"),
}


def write_noise(root: Path, name: str, per_class: int, seed: int) -> Split:
    """Makes videos of grey noise, which tell nothing, with landmarks that are high for one class only."""
    random = np.random.default_rng(seed)
    samples = []
    for number in range(2 * per_class):
        label = LABELS.names[number % 2]
        folder = root / name / f"{number:03d}"
        folder.mkdir(parents=True)
        for frame in range(3):
            grey = np.clip(random.normal(random.integers(40, 120), 10, (32, 32, 3)), 0, 255)
            cv2.imwrite(str(folder / f"{frame}.png"), grey.astype(np.uint8))
        middle = 0.25 if label == "happiness" else 0.75
        spread = random.uniform(-0.2, 0.2, (3, 478, 2)) + np.array([0.5, middle])
        found = np.array([True, True, number % 3 > 0])
        save_parts(parts_path(folder), Parts(spread.astype(np.float32), found))
        caption = SAID[label][int(random.integers(2))]
        samples.append(Sample(folder, label, f"{name}/{number:03d}", caption=caption))
    return Split("folder", None, name, tuple(samples), LABELS)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, Split]:
    root = tmp_path_factory.mktemp("noise")
    return write_noise(root, "train", 24, 0), write_noise(root, "test", 16, 1)


def fresh(**changes: Any) -> FineCLIPER:
    config = debug_config("finecliper").derive(
        labels=LABELS.names, num_frames=2, temperature=0.05, **changes
    )
    model = load_model(Checkpoint("debug", "", config, None), settings=load_settings())
    return FineCLIPER(model, config, device=torch.device("cpu"), precision="fp32")


def settings(**changes: Any) -> TrainConfig:
    return learning(**{"batch_size": 16} | changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streams", "learnt"),
    [({}, False), ({"parts": True}, True), ({"captions": True}, True)],
    ids=["base", "parts", "captions"],
)
def test_a_stream_teaches_what_the_video_cannot(
    splits: tuple[Split, Split], streams: dict[str, Any], learnt: bool
) -> None:
    recognizer = fresh(**streams)
    recognizer.fit(splits[0], config=settings(epochs=24))
    found = accuracy(recognizer, splits[1])
    if learnt:
        assert found >= 0.9
    else:
        assert (
            found <= 0.75
        )  # 32 videos: chance is 0.5, and 0.75 is 2.8 standard deviations above it


def test_captions_alone_teach_labels_without_any_label(tmp_path: Path) -> None:
    """Zero-shot: videos and captions are aligned, and the labels are read with the captions' encoder."""
    samples = []
    random = np.random.default_rng(0)
    for number in range(48):
        label = LABELS.names[number % 2]
        folder = tmp_path / f"{number:03d}"
        folder.mkdir()
        light = 60 if label == "happiness" else 190
        for frame in range(2):
            picture = np.clip(random.normal(light, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{frame}.png"), picture)
        caption = f"A person with an expression of {label}"
        samples.append(Sample(folder, label, f"{number:03d}", caption=caption))
    split = Split("folder", None, "train", tuple(samples[:32]), LABELS)
    silent = tuple(replace(sample, caption="") for sample in samples[32:])
    test = split.with_samples(silent, "test")
    recognizer = fresh(captions=True, supervision="captions")
    # The labels of the training videos are all the same: nothing can be learned from them.
    blind = split.with_samples(replace(sample, label="surprise") for sample in split.samples)
    recognizer.fit(blind, config=settings())
    assert accuracy(recognizer, test) >= 0.9


def test_parts_follow_their_frames_through_sampling_and_augmentation(
    splits: tuple[Split, Split],
) -> None:
    recognizer = fresh(parts=True)
    preprocess, streams = recognizer.config.preprocess, sources_of(recognizer.config)
    data = VideoDataset(
        splits[0], preprocess, 2, train=True, seed=3, labels=LABELS, streams=streams
    )
    item = data[0]
    assert isinstance(item, Item)
    parts = item.streams["parts"]
    assert isinstance(parts, PartsStream)
    assert parts.pictures.shape == (1, 2, 2, 3, 32, 32)
    assert parts.found.dtype == torch.bool
    # What is drawn over a crop leaves most of it: the two were cut and mirrored in the same way.
    same = (parts.pictures[0, :, 1] == item.crops).float().mean()
    assert same > 0.4


def test_videos_without_parts_are_named(splits: tuple[Split, Split], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    cv2.imwrite(str(bare / "0.png"), np.zeros((32, 32, 3), np.uint8))
    split = splits[0].with_samples([Sample(bare, "happiness", "bare"), *splits[0].samples])
    with pytest.raises(DatasetError, match=r"1 of the 49 videos .*bare\. .*prepare --parts"):
        fresh(parts=True).fit(split, config=settings(epochs=1))


def test_parts_of_other_crops_are_refused(splits: tuple[Split, Split], tmp_path: Path) -> None:
    folder = tmp_path / "video"
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((32, 32, 3), np.uint8))
    for count in (3, 5):
        found = np.ones(count, np.bool_)
        save_parts(parts_path(folder), Parts(np.full((count, 478, 2), 0.5, np.float32), found))
        split = splits[0].with_samples([Sample(folder, "happiness", "v")])
        config = fresh(parts=True).config
        data = VideoDataset(
            split, config.preprocess, 2, train=False, labels=LABELS, streams=sources_of(config)
        )
        told = data[0]
        assert isinstance(told, Unreadable)
        assert f"covers {count} frames, but the video has 4" in told.reason


def test_streams_that_cannot_be_mixed_are_reported(splits: tuple[Split, Split]) -> None:
    with pytest.raises(ConfigError, match=r"reads parts and captions, which cannot be mixed"):
        fresh(parts=True, captions=True).fit(
            splits[0], config=settings(mixing={"mixup": 0.5, "fmix": 0})
        )


def test_a_model_that_reads_captions_needs_some(splits: tuple[Split, Split]) -> None:
    silent = splits[0].with_captions({})
    with pytest.raises(
        ConfigError, match="reads captions.*with --captions, or set model.captions to false"
    ):
        fresh(captions=True).fit(silent, config=settings())


def test_caption_supervision_needs_several_videos_per_pass(
    splits: tuple[Split, Split], caplog: pytest.LogCaptureFixture
) -> None:
    """A caption is contrasted with those of its pass and rank; gradient accumulation adds none."""
    config = fresh(captions=True, supervision="captions").config
    for size, world, least in ((1, SINGLE, 2), (3, World(0, 3), 6)):
        with pytest.raises(ConfigError, match=f"captions alone.*at least -b {least};"):
            check_streams(config, settings(batch_size=size, grad_accum=4), splits[0], world=world)
        check_streams(config, settings(batch_size=least), splits[0], world=world)
    few = splits[0].with_samples(splits[0].samples[:2])
    fresh(captions=True).fit(few, config=settings(batch_size=1, epochs=1))
    assert "captions are not aligned with their videos" in caplog.text
    assert "mixup" not in caplog.text
