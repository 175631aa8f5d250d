"""fp16, whose gradients are scaled: with a real scaler, and arithmetic that a CPU has."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext

import pytest
import torch
from small import exact, fresh, weights
from torch import Tensor

from peclip import PEClip
from peclip.data import Split
from peclip.errors import TrainingError
from peclip.training.distributed import World
from peclip.training.learner import Learner
from peclip.training.running_metrics import RunningMetrics
from peclip.training.runtime import Runtime


@pytest.fixture(autouse=True)
def fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peclip.training.runtime.choose_precision", lambda name, device: "fp16")
    monkeypatch.setattr("peclip.training.learner.autocast", lambda device, name: nullcontext())


class RankWithoutVideos(World):
    """Gets all gradients from the other ranks, as they have scaled them."""

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 2.0**16)


def learner_of(recognizer: PEClip) -> Learner:
    config = exact(clip_grad=None)
    computing = Runtime.of(config, torch.device("cpu"), RankWithoutVideos())
    return Learner(recognizer.loaded, config, computing, torch.ones(3))


@pytest.mark.parametrize("resumed", [False, True])
def test_a_rank_may_start_without_videos(resumed: bool) -> None:
    """As with fewer videos than ranks, or where a training is resumed at the end of an epoch."""
    recognizer = fresh()
    learner, before = learner_of(recognizer), weights(recognizer)
    if resumed:
        learner.load_state(learner_of(fresh()).to_state())
    running_metrics = RunningMetrics.empty(3)
    for step in range(2):
        learner.step([None], running_metrics, num_videos=1, epoch=1, step=step, steps_per_epoch=2)
    changed = {name for name, now in weights(recognizer).items() if not now.equal(before[name])}
    assert changed == set(learner.trained)
    assert learner.to_state()["scaler"]["_growth_tracker"] == 2


def test_gradients_that_stay_infinite_stop_the_training(
    videos: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scaler leaves steps without a finite gradient out; not for ever."""
    monkeypatch.setattr("peclip.training.learner._MOST_SKIPPED", 3)
    recognizer = fresh()
    parameter = next(p for p in recognizer.model.parameters() if p.requires_grad)
    parameter.register_hook(lambda grad: grad * float("nan"))
    with pytest.raises(TrainingError, match=r"gradient is nan in step 1 of epoch 2"):
        recognizer.fit(videos, config=exact(epochs=9))
