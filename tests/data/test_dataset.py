"""From a split to tensors: sampling, augmentation, shards."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from peclip import PEClip, PredictOptions
from peclip.config import PreprocessConfig, check
from peclip.data import Sample, Split
from peclip.data.augmentation import NO_AUGMENTATION, AugmentConfig
from peclip.data.dataset import Draw, Item, Unreadable, VideoDataset
from peclip.data.loader import (
    VideoLoader,
    batches_of,
    epoch_draws,
    load_batches,
    reader_errors,
    share,
    soft_weights,
)
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet

SMALL = PreprocessConfig(image_size=32)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Five videos of 3 to 11 frames, 48x40 pixels of noise."""
    random = np.random.default_rng(0)
    samples = []
    for number, frames in enumerate((3, 5, 7, 9, 11)):
        folder = tmp_path / f"v{number}"
        folder.mkdir()
        for frame in range(frames):
            picture = random.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / f"{frame}.png"), picture)
        samples.append(Sample(folder, ("happiness", "anger")[number % 2], f"v{number}"))
    return Split("folder", None, "train", tuple(samples), LabelSet(("happiness", "anger")))


def item(data: VideoDataset, draw: Draw) -> Item:
    found = data[draw]
    assert isinstance(found, Item)
    return found


def test_train_and_predict_preprocess_alike(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """What evaluation reads of a video is what `predict --no-face-crop` shows the model, bit for bit."""
    debug = PEClip.from_pretrained("debug", device="cpu")
    monkeypatch.setattr(type(debug.model), "shares_frames", False)  # the model gets frames
    seen: list[torch.Tensor] = []
    forward = debug.model.forward
    monkeypatch.setattr(
        debug.model,
        "forward",
        lambda batch, features=None: seen.append(batch.frames) or forward(batch, features),
    )
    options = PredictOptions(face_crop=False, window=float("inf"))
    debug.predict(split.samples[4].source, options)
    data = VideoDataset(split, debug.config.preprocess, debug.config.num_frames, train=False)
    assert torch.equal(seen[0][0], debug.preprocess(item(data, Draw(0, 4)).crops))


def test_random_numbers_depend_on_seed_epoch_and_video_alone(split: Split) -> None:
    def crops(draw: Draw, seed: int = 1) -> torch.Tensor:
        torch.rand(3)  # the global generator plays no part
        return item(VideoDataset(split, SMALL, 4, train=True, seed=seed), draw).crops

    before = torch.get_rng_state()
    VideoDataset(split, SMALL, 4, train=True)[Draw(0, 1)]
    assert torch.equal(before, torch.get_rng_state()), "the global generator is left alone"
    first = crops(Draw(2, 4))
    assert torch.equal(first, crops(Draw(2, 4)))
    others = [crops(Draw(3, 4)), crops(Draw(2, 4, 1)), crops(Draw(2, 4), seed=2)]
    assert not any(torch.equal(first, other) for other in others)


def test_one_draw_per_video(split: Split, tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    (tmp_path / "still").mkdir()
    for frame in range(6):
        cv2.imwrite(str(tmp_path / "still" / f"{frame}.png"), picture)
    one = split.with_samples([Sample(tmp_path / "still", "anger", "still")])
    augment = AugmentConfig(rotation=10)
    crops = item(VideoDataset(one, SMALL, 6, train=True, augment=augment), Draw(0, 0)).crops
    plain = item(VideoDataset(one, SMALL, 6, train=False), Draw(0, 0)).crops
    assert torch.equal(crops, crops[:1].expand_as(crops)), "the same for all frames"
    assert not torch.equal(crops, plain)


def test_without_augmentation_only_the_frames_are_random(split: Split) -> None:
    short = VideoDataset(split, SMALL, 4, train=True, augment=NO_AUGMENTATION)
    plain = VideoDataset(split, SMALL, 4, train=False)
    assert torch.equal(item(short, Draw(0, 0)).crops, item(plain, Draw(0, 0)).crops)
    longer = [item(short, Draw(epoch, 4)).crops for epoch in range(3)]
    assert not torch.equal(longer[0], longer[1]) or not torch.equal(longer[0], longer[2])


def test_targets_are_of_the_models_labels(split: Split) -> None:
    labels = LabelSet(("fear", "anger", "happiness"))
    data = VideoDataset(split, SMALL, 4, train=False, labels=labels)
    assert data.targets == [2, 1, 2, 1, 2]
    with pytest.raises(ConfigError, match="'happiness' is not a label"):
        VideoDataset(split, SMALL, 4, train=False, labels=LabelSet(("fear", "anger")))


def test_soft_targets_are_of_the_models_labels(split: Split) -> None:
    labels = LabelSet(("fear", "anger", "happiness"))
    voted = replace(split.samples[0], soft_target=(("happiness", 0.7), ("anger", 0.3)))
    soft = split.with_samples((voted, *split.samples[1:3]))
    data = VideoDataset(soft, SMALL, 4, train=True, labels=labels)
    expected = [[0, 0.3, 0.7], [0, 1, 0], [0, 0, 1]]
    assert data.targets == [2, 1, 2], "the label is scored"
    for number, row in enumerate(expected):
        assert item(data, Draw(0, number)).soft_target.tolist() == pytest.approx(row)
    assert data.class_counts().tolist() == pytest.approx([0, 1.3, 1.7])
    (videos,) = load_batches(data, [[Draw(0, 2), Draw(0, 0)]])
    assert videos is not None
    assert videos.soft_targets.tolist() == [pytest.approx(expected[2]), pytest.approx(expected[0])]
    hard = VideoDataset(split, SMALL, 4, train=True, labels=labels)
    assert item(hard, Draw(0, 1)).soft_target.tolist() == [0, 1, 0]
    assert hard.class_counts().tolist() == [0, 2, 3]
    lacking = LabelSet(("fear", "happiness"))
    scored = VideoDataset(soft.with_samples([voted]), SMALL, 4, train=False, labels=lacking)
    assert scored.targets == [1], "votes for a label that the model lacks do not matter to scores"
    with pytest.raises(ConfigError, match="'anger' is not a label"):
        VideoDataset(soft.with_samples([voted]), SMALL, 4, train=True, labels=lacking)


def test_augmentation_is_checked() -> None:
    with pytest.raises(ConfigError, match="crop_scale is"):
        check(AugmentConfig, {"crop_scale": (0.5, 1.5)})


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_ranks_share_without_padding(world_size: int) -> None:
    batches = batches_of(epoch_draws([0] * 13, seed=0, epoch=0), 4)
    assert [len(batch) for batch in batches] == [4, 4, 4, 1]
    shares = [share(batches, rank, world_size) for rank in range(world_size)]
    for number, batch in enumerate(batches):
        together = [draw for rank in shares for draw in rank[number]]
        assert sorted(together) == sorted(batch)


def test_order_of_an_epoch() -> None:
    draws = epoch_draws([0] * 50, seed=3, epoch=1)
    assert sorted(draw.video for draw in draws) == list(range(50))
    assert draws == epoch_draws([0] * 50, seed=3, epoch=1)
    indices = [draw.video for draw in draws]
    assert indices != [draw.video for draw in epoch_draws([0] * 50, seed=3, epoch=2)]
    assert indices != [draw.video for draw in epoch_draws([0] * 50, seed=4, epoch=1)]


def test_balanced_sampling() -> None:
    targets = [0] * 18 + [1] * 9 + [2] * 3
    draws = epoch_draws(targets, seed=0, epoch=0, balance=1.0)
    assert Counter(targets[draw.video] for draw in draws) == {0: 10, 1: 10, 2: 10}
    half = epoch_draws([0] * 16 + [1] * 4, seed=0, epoch=0, balance=0.5)
    assert Counter(int(draw.video >= 16) for draw in half) == {0: 13, 1: 7}, "as 4 to 2"
    rare = Counter(draw.video for draw in draws if targets[draw.video] == 2)
    assert sorted(rare.values()) == [3, 3, 4], "its videos come in turn"
    assert len(set(draws)) == len(draws), "a video that comes again is drawn anew"


SOFT = torch.tensor([[1, 0], [1, 0], [0.5, 0.5], [0.5, 0.5]])
"""n = (3, 1), so that a power of 1 gives 1/3, 1/3, 1/6 + 1/2, 1/6 + 1/2, times 4/2."""


def test_balance_by_expected_votes() -> None:
    assert soft_weights(SOFT, 1.0) == pytest.approx([2 / 3, 2 / 3, 4 / 3, 4 / 3])
    root = 3**-0.5
    whole = 2 * root + (root + 1)
    half = [4 * root / whole] * 2 + [2 * (root + 1) / whole] * 2
    assert soft_weights(SOFT, 0.5) == pytest.approx(half)
    assert soft_weights(SOFT, 0.0) == pytest.approx([1, 1, 1, 1])
    hard = torch.eye(3)[torch.tensor([0] * 18 + [1] * 9 + [2] * 3)]
    assert soft_weights(hard, 1.0)[::9] == pytest.approx([10 / 18, 10 / 18, 10 / 9, 10 / 3])
    lacking = torch.cat([SOFT, torch.zeros(4, 1)], dim=1)
    assert soft_weights(lacking, 1.0) == soft_weights(SOFT, 1.0), "a class without votes"


def test_draws_by_expected_votes() -> None:
    """Every video comes as often as it should, rounded up or down, and on average exactly so often."""

    def draws(epoch: int, seed: int = 0) -> list[Draw]:
        return epoch_draws([0] * 4, seed=seed, epoch=epoch, balance=1.0, soft_targets=SOFT)

    total = Counter[int]()
    for epoch in range(600):
        counts = Counter(draw.video for draw in draws(epoch))
        assert counts.total() == 4
        assert {counts[0], counts[1]} <= {0, 1}
        assert {counts[2], counts[3]} <= {1, 2}
        total += counts
    assert [total[video] / 600 for video in range(4)] == pytest.approx(
        [2 / 3, 2 / 3, 4 / 3, 4 / 3], abs=0.05
    )
    assert draws(3) == draws(3)
    assert len({tuple(draws(epoch)) for epoch in range(20)}) > 1
    assert len({tuple(draws(0, seed)) for seed in range(20)}) > 1
    assert all(len(set(draws(epoch))) == 4 for epoch in range(20)), "a repeat is drawn anew"
    plain = epoch_draws([0] * 4, seed=0, epoch=0, soft_targets=SOFT)
    assert sorted(draw.video for draw in plain) == [0, 1, 2, 3], "without balance each once"


def test_loading(split: Split) -> None:
    data = VideoDataset(split, SMALL, 4, train=True)
    batches = [[Draw(0, 3), Draw(0, 1)], [], [Draw(0, 2)]]
    before = torch.get_rng_state()
    first, none, last = load_batches(data, batches)
    assert torch.equal(before, torch.get_rng_state())
    assert none is None
    assert first is not None
    assert last is not None
    assert first.crops.shape == (2, 4, 3, 32, 32)
    assert (first.indices.tolist(), first.targets.tolist()) == ([3, 1], [1, 1])
    again = next(load_batches(data, batches, workers=1))
    assert again is not None
    assert torch.equal(first.crops, again.crops), "workers change nothing"


class NamesItsProcess(VideoDataset):
    """Reads nothing; the target is the process."""

    def __getitem__(self, draw: Draw | int) -> Item:
        assert isinstance(draw, Draw)
        crops = torch.full((4, 3, 8, 8), draw.epoch, dtype=torch.uint8)
        return Item(crops, os.getpid(), torch.ones(2), draw.video, {})


def test_workers_live_as_long_as_their_loader(split: Split) -> None:
    loader = VideoLoader(NamesItsProcess(split, SMALL, 4, train=False), workers=1)
    processes = set()
    for epoch in range(3):
        batches = [[Draw(epoch, 1)], [Draw(epoch, 0), Draw(epoch, 2)]][: 2 - epoch % 2]
        read = list(loader.read(batches))
        assert [one.indices.tolist() for one in read if one] == [
            [draw.video for draw in batch] for batch in batches
        ]
        assert all(one is not None and int(one.crops.max()) == epoch for one in read)
        processes |= {int(one.targets[0]) for one in read if one}
    assert len(processes) == 1
    assert os.getpid() not in processes


def test_an_unreadable_video_is_a_one_line_error(split: Split) -> None:
    (split.samples[1].source / "2.png").write_bytes(b"no picture")
    data = VideoDataset(split, SMALL, 5, train=False)
    with pytest.raises(DatasetError, match=r"^folder train: v1 cannot be read: .*2\.png.*check"):
        list(load_batches(data, batches_of([Draw(0, i) for i in range(5)], 2), workers=1))


class Killed(VideoDataset):
    """Its readers are killed, as where the memory is too small."""

    def __getitem__(self, draw: Draw | int) -> Item:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_crashed_reader_is_a_one_line_error(split: Split) -> None:
    data = Killed(split, SMALL, 4, train=False)
    says = pytest.raises(DatasetError, match=r"^A worker process died: .*--workers 0.*--shm-size")
    with says, reader_errors():
        list(load_batches(data, batches_of([Draw(0, 0)], 1), workers=1))
    with pytest.raises(DatasetError, match="bus error"), reader_errors():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: bus error. ")
    with pytest.raises(RuntimeError, match="shapes"), reader_errors():
        raise RuntimeError("shapes do not fit")


def test_any_exception_of_a_decoder_makes_one_video_unreadable(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr("peclip.video.reader._open", fail)
    found = VideoDataset(split, PreprocessConfig(image_size=32), 2, train=False)[0]
    assert isinstance(found, Unreadable)
    assert f"{split.samples[0].source} cannot be read: IndexError: list index" in found.reason
