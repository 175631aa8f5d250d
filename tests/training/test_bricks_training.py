"""Training LoRA and the temporal head: their learning rates, dropout, averages, and resuming."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import assert_equal, fresh, quick, runtime, weights

from peclip import PEClip
from peclip.data import Split
from peclip.errors import ConfigError
from peclip.training.config import TrainConfig
from peclip.training.learner import Learner
from peclip.training.progress import Hooks, Progress
from peclip.training.state import STATES
from peclip.weights.parameter_counts import count_parameters

BRICKS = {
    "lora": {"rank": 4, "dropout": 0.3},
    "temporal_head": {"dropout": 0.2},
    "shared_adapter": "none",
    "temporal_adapter": "none",
    "text_adapter": "none",
    "prompt_length": 0,
}


class Killed(Exception):
    """Stands for a machine that goes down."""


def killed(progress: Progress) -> None:
    if (progress.epoch, progress.step) == (1, 2):
        raise Killed


def settings(**changes: object) -> TrainConfig:
    rates = {"lora": 1e-2, "head": 5e-3}
    return quick(**{"lr": rates, "ema": 0.5, "checkpoint_steps": 1} | changes)


def train(videos: Split, folder: Path, hooks: Hooks | None = None, **more: bool) -> PEClip:
    recognizer = fresh(**BRICKS)
    recognizer.fit(videos, config=settings(), run_dir=folder, hooks=hooks, **more)
    return recognizer


def test_a_killed_training_with_dropout_is_resumed_bit_for_bit(
    videos: Split, tmp_path: Path
) -> None:
    whole = train(videos, tmp_path / "whole")
    with pytest.raises(Killed):
        train(videos, tmp_path / "killed", Hooks(on_step=killed))
    assert (tmp_path / "killed" / STATES).exists()
    assert_equal(whole, train(videos, tmp_path / "killed", resume=True))
    before, after = weights(fresh(**BRICKS)), weights(whole)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {n for n, p in whole.model.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in changed} == {"vision", "pooling"}


def test_the_parts_have_their_own_learning_rates() -> None:
    recognizer = fresh(lora={"rank": 4}, temporal_head={})
    learner = Learner(recognizer.loaded, settings(), runtime(), torch.ones(3))
    counts = count_parameters(recognizer.config)["trainable"]
    (optimizer,) = learner.optimizers
    found = {group["part"]: group for group in optimizer.param_groups}
    assert list(found) == ["adapters", "prompts", "lora", "head"]
    assert [found[part]["lr"] for part in ("lora", "head")] == [1e-2, 5e-3]
    for part, name in (("lora", "LoRA"), ("head", "head")):
        assert sum(p.numel() for p in found[part]["params"]) == counts[name]


def test_dropout_is_on_in_training_and_off_in_evaluation() -> None:
    learner = Learner(fresh(**BRICKS).loaded, settings(), runtime(), torch.ones(3))
    dropping = [m for m in learner.model.modules() if getattr(m, "dropout", 0)]
    assert len(dropping) == 2 * 6 + 1
    learner.training()
    assert all(module.training for module in dropping)
    learner.eval_mode()
    assert not any(module.training for module in dropping)


def test_nothing_to_train_names_the_bricks() -> None:
    plain = fresh(**BRICKS | {"lora": None, "temporal_head": None})
    with pytest.raises(ConfigError, match=r"LoRA or temporal head.*train\.lr\.backbone"):
        Learner(plain.loaded, settings(), runtime(), torch.ones(3))
