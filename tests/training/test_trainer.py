"""The loop: what it learns, what stays frozen, what stops it, and how it resumes."""

from __future__ import annotations

import errno
import functools
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small import (
    LABELS,
    assert_equal,
    exact,
    fresh,
    quick,
    run,
    runtime,
    split_of,
    weights,
    write_videos,
)
from sweeps import sweep

from peclip import PEClip
from peclip.data import Split
from peclip.data.dataset import Draw, Item, VideoDataset
from peclip.errors import CheckpointError, ConfigError, TrainingError
from peclip.training.config import TrainConfig
from peclip.training.ema import Ema
from peclip.training.learner import class_weights
from peclip.training.progress import Hooks, Progress
from peclip.training.state import STATE, load_state, save_state
from peclip.training.trainer import TrainResult, train_model
from peclip.training.videos import videos_of
from peclip.types import Batch


class Killed(Exception):
    """Stands for a machine that goes down."""


def killed_after(steps: int) -> Hooks:
    left = [steps]

    def on_step(progress: Progress) -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed

    return Hooks(on_step=on_step)


def resumable(ema: float | None) -> TrainConfig:
    return quick(checkpoint_steps=1, ema=ema, clip_grad=1.0, select_on="val")


@pytest.fixture(scope="module")
def uninterrupted(videos: Split) -> Callable[[float | None], tuple[PEClip, TrainResult]]:
    """A training from its begin to its end, once for each `ema`."""
    val = videos.with_samples(videos.samples, "val")
    return functools.cache(lambda ema: run(videos, resumable(ema), val))


@sweep("steps", [1, 2, 3, 4, 5, 6], default=[3, 5])
@sweep("ema", [None, 0.9], default=[0.9])
def test_resume_equals_uninterrupted(
    videos: Split,
    uninterrupted: Callable[[float | None], tuple[PEClip, TrainResult]],
    tmp_path: Path,
    steps: int,
    ema: float | None,
) -> None:
    """Killed after any step, with everything random on: the weights are equal bit for bit."""
    config = resumable(ema)
    whole, expected = uninterrupted(ema)
    val = videos.with_samples(videos.samples, "val")
    with pytest.raises(Killed):
        run(videos, config, val, state_folder=tmp_path, hooks=killed_after(steps))
    again, result = run(
        videos, config, val, state_folder=tmp_path, resume=(tmp_path / STATE).exists()
    )
    assert_equal(whole, again)
    assert result.selected_epoch == expected.selected_epoch
    assert [e["train"] for e in result.history] == [e["train"] for e in expected.history]
    assert [e["val"] for e in result.history] == [e["val"] for e in expected.history]


def test_resume_between_epochs_and_after_completion(videos: Split, tmp_path: Path) -> None:
    whole, _ = run(videos, quick())
    with pytest.raises(Killed):  # in the second epoch; the state is that of the end of the first
        run(videos, quick(), state_folder=tmp_path, hooks=killed_after(5))
    assert load_state(tmp_path)["progress"]["epoch"] == 1
    again, _ = run(videos, quick(), state_folder=tmp_path, resume=True)
    assert_equal(whole, again)
    done, result = run(videos, quick(), state_folder=tmp_path, resume=True, hooks=killed_after(1))
    assert_equal(whole, done)
    assert len(result.history) == 2


def test_a_training_with_other_settings_is_not_resumed(videos: Split, tmp_path: Path) -> None:
    run(videos, quick(epochs=1), state_folder=tmp_path)
    with pytest.raises(ConfigError, match="a run with different settings\\. "):
        run(videos, quick(epochs=1, seed=7), state_folder=tmp_path, resume=True)
    fewer = videos.with_samples(videos.samples[1:])
    with pytest.raises(ConfigError, match="a run with different videos to train on\\. "):
        run(fewer, quick(epochs=1), state_folder=tmp_path, resume=True)
    run(videos, quick(epochs=1, patience=None, workers=1), state_folder=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="nothing to resume"):
        run(videos, quick(), state_folder=tmp_path / "none", resume=True)
    (tmp_path / STATE).write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="is not a valid training state"):
        run(videos, quick(), state_folder=tmp_path, resume=True)


def test_a_state_without_newer_settings_is_resumed(videos: Split, tmp_path: Path) -> None:
    """Such as one saved before there was drop path, which is off by default."""
    whole, _ = run(videos, quick())
    with pytest.raises(Killed):
        run(videos, quick(), state_folder=tmp_path, hooks=killed_after(5))
    state = load_state(tmp_path)
    settings = json.loads(state["identity"]["settings"])
    del settings["drop_path"], settings["lr"]["lora"], settings["augment"]["erasing"]
    state["identity"]["settings"] = json.dumps(settings)
    save_state(state, tmp_path)
    with pytest.raises(ConfigError, match="different settings"):
        run(videos, quick(drop_path=0.1), state_folder=tmp_path, resume=True)
    assert_equal(whole, run(videos, quick(), state_folder=tmp_path, resume=True)[0])
    state["identity"]["settings"] = json.dumps(settings | {"a field of long ago": 1})
    save_state(state, tmp_path)
    with pytest.raises(ConfigError, match="different settings"):
        run(videos, quick(), state_folder=tmp_path, resume=True)


def test_the_seed_decides_everything(videos: Split) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, _ = run(videos, quick())
    assert torch.equal(before, torch.get_rng_state()), "the caller's random numbers are left alone"
    torch.manual_seed(2)
    assert_equal(one, run(videos, quick(workers=1))[0])
    with pytest.raises(AssertionError):
        assert_equal(one, run(videos, quick(seed=1))[0])


def test_accumulation_equals_a_big_batch(videos: Split) -> None:
    one, first = run(videos, exact(batch_size=4))
    two, second = run(videos, exact(batch_size=2, grad_accum=2))
    assert_equal(one, two, within=1e-5)
    assert first.history[0]["train"]["loss"] == pytest.approx(
        second.history[0]["train"]["loss"], abs=1e-4
    )
    assert first.history[0]["step"] == second.history[0]["step"] == 3


def test_frozen_parameters_never_change(videos: Split) -> None:
    before = weights(fresh())
    trained, _ = run(videos, quick())
    changed = {
        name for name, weight in weights(trained).items() if not torch.equal(weight, before[name])
    }
    expected = {name for name, p in trained.model.named_parameters() if p.requires_grad}
    assert changed <= expected
    assert len(changed) > 0.9 * len(expected)
    assert not trained.model.training


def test_learns_colours(tmp_path: Path) -> None:
    write_videos(tmp_path / "train", 4)
    write_videos(tmp_path / "test", 3, seed=1)
    config = exact(epochs=12, select_on="val")
    val = split_of(tmp_path / "test", "val")
    _, result = run(split_of(tmp_path / "train"), config, val)
    best = result.history[result.selected_epoch - 1]["val"]
    assert (best["war"], best["uar"]) == (100, 100)
    assert result.history[-1]["train"]["loss"] < 0.2 * result.history[0]["train"]["loss"]


def test_early_stopping_keeps_the_first_of_equals(videos: Split) -> None:
    config = exact(epochs=9, lr={"adapters": 0, "prompts": 0}, patience=2, select_on="val")
    _, result = run(videos, config, videos.with_samples(videos.samples, "val"))
    assert (len(result.history), result.selected_epoch, result.stopped_early) == (3, 1, True)


def test_the_best_epoch_is_kept(videos: Split) -> None:
    kept: list[dict[str, torch.Tensor]] = []
    val = videos.with_samples(videos.samples, "val")

    def on_best(progress: Progress) -> None:
        assert progress.best_weights is not None
        kept.append(progress.best_weights)

    recognizer, result = run(
        videos, exact(epochs=3, select_on="val"), val, hooks=Hooks(on_best=on_best)
    )
    now = weights(recognizer)
    assert all(torch.equal(now[name], weight) for name, weight in kept[-1].items())
    scores = [entry["val"]["war"] for entry in result.history]
    assert result.selected_epoch == scores.index(max(scores)) + 1
    with pytest.raises(ConfigError, match="no test split was passed"):
        fresh().fit(videos, config=exact(select_on="test"))


def test_ema_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    ema = Ema({"w": weight}, 0.9)
    for value in (2.0, 3.0):
        weight.data.fill_(value)
        ema.update()
    assert ema.averages["w"].item() == pytest.approx(0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 3)
    with ema.in_place():
        assert weight.item() == pytest.approx(1.29)
    assert weight.item() == 3


def test_the_average_is_the_model(videos: Split) -> None:
    plain, _ = run(videos, exact())
    slow, _ = run(videos, exact(ema=0.999))
    start = fresh()
    name = next(n for n, p in plain.model.named_parameters() if p.requires_grad)
    moved = (weights(plain)[name] - weights(start)[name]).abs().max()
    assert (weights(slow)[name] - weights(start)[name]).abs().max() < 0.05 * moved


def test_class_weights_by_hand() -> None:
    counts = torch.tensor([3.0, 0, 1])
    assert class_weights(counts, quick()).tolist() == [1, 1, 1]
    weighed = class_weights(counts, quick(balance="loss")).tolist()
    assert weighed == pytest.approx([4 / 6, 1, 4 / 2])


@pytest.mark.parametrize(
    "changes",
    [{"balance": "loss"}, {"balance": "sampling"}, {"label_smoothing": 0.1}, {"precision": "bf16"}],
)
def test_options_change_what_is_learned(videos: Split, changes: dict[str, object]) -> None:
    uneven = videos.with_samples(videos.samples[2:])
    one, _ = run(uneven, exact(epochs=1))
    same, _ = run(uneven, exact(epochs=1))
    other, _ = run(uneven, exact(epochs=1, **changes))
    assert_equal(one, same)
    with pytest.raises(AssertionError):
        assert_equal(one, other)


def test_loss_of_a_step_by_hand(videos: Split) -> None:
    """One step over all videos: label smoothing and class weights as torch computes them."""
    uneven = videos.with_samples(videos.samples[2:])
    recognizer = fresh()
    data = videos_of(uneven, recognizer.loaded, exact())
    crops = torch.stack([data.item(Draw(0, number)).crops for number in range(7)])
    with torch.no_grad():
        logits = recognizer.model(Batch(recognizer.preprocess(crops))).logits
    targets = torch.tensor(data.targets)
    weights = class_weights(data.class_counts(), quick(balance="loss"))
    config = exact(epochs=1, batch_size=7, balance="loss", label_smoothing=0.2)
    _, result = run(uneven, config)
    each = F.cross_entropy(logits, targets, weight=weights, label_smoothing=0.2, reduction="none")
    assert result.history[0]["train"]["loss"] == pytest.approx(each.mean().item(), rel=1e-5)


def test_loss_of_votes_by_hand(videos: Split) -> None:
    """One step: the cross-entropy of soft targets, smoothed and weighed by expected counts."""
    voted = [
        replace(sample, soft_target=((sample.label, 0.75), (LABELS.names[number % 3], 0.25)))
        if sample.label != LABELS.names[number % 3]
        else sample
        for number, sample in enumerate(videos.samples)
    ]
    uneven = videos.with_samples(voted[2:])
    recognizer = fresh()
    data = videos_of(uneven, recognizer.loaded, exact())
    crops = torch.stack([data.item(Draw(0, number)).crops for number in range(7)])
    with torch.no_grad():
        logits = recognizer.model(Batch(recognizer.preprocess(crops))).logits
    targets = torch.zeros(7, 3)
    for row, sample in zip(targets, uneven.samples, strict=True):
        for name, weight in sample.soft_target or ((sample.label, 1.0),):
            row[LABELS.index(name)] = weight
    assert len(set(map(tuple, targets.tolist()))) > 3, "not one-hot"
    weights = 7 / (3 * targets.sum(0))
    smooth = 0.8 * targets + 0.2 / 3
    expected = -(smooth * weights * logits.log_softmax(-1)).sum(-1).mean().item()
    config = exact(epochs=1, batch_size=7, balance="loss", label_smoothing=0.2)
    _, result = run(uneven, config)
    assert result.history[0]["train"]["loss"] == pytest.approx(expected, rel=1e-5)
    _, plain = run(videos.with_samples(videos.samples[2:]), config)
    assert plain.history[0]["train"]["loss"] != pytest.approx(expected, rel=1e-3)


def test_rare_votes_are_drawn_more_often(videos: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three videos of one label, one with a vote for another: w = 3/2 (0.9/2.9 + 0.1/0.1) = 1.97 times an epoch."""
    happy = [sample for sample in videos.samples if sample.label == "happiness"]
    assert len(happy) == 3
    happy[0] = replace(happy[0], soft_target=(("happiness", 0.9), ("sadness", 0.1)))
    drawn: list[int] = []
    item = VideoDataset.item

    def record(self: VideoDataset, draw: Draw) -> Item:
        drawn.append(draw.video)
        return item(self, draw)

    monkeypatch.setattr(VideoDataset, "item", record)
    run(videos.with_samples(happy), exact(epochs=4, balance="sampling"))
    assert len(drawn) == 12
    assert drawn.count(0) in (7, 8)


def test_a_nan_loss_stops_and_keeps_the_last_state(
    videos: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peclip.models.pe_clip import PEClipModel

    loss = PEClipModel.loss
    calls = []

    def broken(self: PEClipModel, output: object, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return loss(self, output, targets) * (float("nan") if len(calls) == 5 else 1)  # type: ignore[arg-type]

    monkeypatch.setattr(PEClipModel, "loss", broken)
    with pytest.raises(
        TrainingError,
        match=r"loss is nan in step 2 of epoch 2.*Start a new run with .*--precision fp32\)\.$",
    ):
        run(videos, exact(), state_folder=tmp_path)
    monkeypatch.undo()
    again, _ = run(videos, exact(), state_folder=tmp_path, resume=True)
    assert_equal(run(videos, exact())[0], again)


def test_running_out_of_memory_is_a_one_line_error(
    videos: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peclip.models.pe_clip import PEClipModel

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(PEClipModel, "loss", full)
    with pytest.raises(TrainingError, match=r"memory on cpu.*\(-b\).*grad_accum.*checkpoint_act"):
        run(videos, exact())


def test_a_nan_gradient_stops_before_the_weights_change(videos: Split) -> None:
    recognizer = fresh()
    parameter = next(p for p in recognizer.model.parameters() if p.requires_grad)
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    before = weights(recognizer)
    data = videos_of(videos, recognizer.loaded, exact())
    with pytest.raises(TrainingError, match="gradient is (inf|nan) in step 1 of epoch 1"):
        train_model(recognizer.loaded, data, None, exact(), runtime())
    assert all(torch.equal(weight, before[name]) for name, weight in weights(recognizer).items())


def test_an_epoch_with_nan_predictions_ends_the_training(videos: Split) -> None:
    """It cannot be resumed in another precision, so it says what can be done."""
    recognizer = fresh()
    data = videos_of(videos, recognizer.loaded, exact())

    def spoil(phase: str, done: int, videos: int) -> None:
        if (phase, done) == ("validating", 0):
            with torch.no_grad():
                next(recognizer.model.vision.parameters()).fill_(float("nan"))

    with pytest.raises(TrainingError, match=r"NaN or infinite in fp32"):
        train_model(
            recognizer.loaded, data, videos, exact(), runtime(), hooks=Hooks(on_phase=spoil)
        )


def test_a_full_disk_keeps_the_last_good_state(
    videos: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []
    sync = os.fsync

    def full(descriptor: int) -> None:
        saved.append(1)
        if len(saved) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"No space left.*--resume"):
        run(videos, exact(), state_folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    assert load_state(tmp_path)["progress"]["epoch"] == 1
    monkeypatch.undo()
    again, _ = run(videos, exact(), state_folder=tmp_path, resume=True)
    assert_equal(run(videos, exact())[0], again)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_disk_that_is_full_from_the_start(videos: Split, tmp_path: Path) -> None:
    (tmp_path / f".{STATE}.part").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="No space left on device. Choose a writable folder"):
        run(videos, exact(epochs=1), state_folder=tmp_path)
