"""What a step would make a GPU wait for, or do again: on a CPU, by the operators that run."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from operations import Operations
from small import exact, fresh
from torch import Tensor

from peclip.data.dataset import Videos
from peclip.models.loaded import LoadedModel
from peclip.nn.lowered import lower_frozen
from peclip.training.config import TrainConfig
from peclip.training.learner import Learner
from peclip.training.running_metrics import RunningMetrics
from peclip.training.runtime import Runtime
from peclip.types import Batch

CPU = torch.device("cpu")
WAITING = ("_local_scalar_dense", "bincount", "nonzero", "item", "masked_select")
"""Operators whose result the host must know, so that it waits for the device."""


def learner_of(config: TrainConfig) -> Learner:
    loaded: LoadedModel = fresh().loaded
    return Learner(loaded, config, Runtime.of(config, CPU), torch.ones(3))


def videos_of(learner: Learner, count: int = 3) -> Videos:
    size = learner.loaded.config.preprocess.image_size
    crops = torch.randint(0, 256, (count, 2, 3, size, size), dtype=torch.uint8)
    targets = torch.arange(count)
    return Videos(crops, targets, F.one_hot(targets, 3).float(), targets, {})


def run(learner: Learner, videos: Videos, passes: int = 1) -> RunningMetrics:
    metrics = RunningMetrics.empty(3)
    learner.training()
    learner.step(
        [videos] * passes,
        metrics,
        num_videos=passes * len(videos.targets),
        epoch=1,
        step=0,
        steps_per_epoch=1,
    )
    return metrics


@pytest.mark.parametrize("passes", [1, 3])
def test_no_pass_waits_for_the_device(passes: int) -> None:
    learner = learner_of(exact(clip_grad=1.0, ema=0.9))
    videos = videos_of(learner)
    run(learner, videos)
    with Operations() as operations:
        run(learner, videos, passes)
    assert operations.count(*WAITING) == 0


def test_the_confusion_matrix_is_still_that_of_bincount() -> None:
    learner = learner_of(exact())
    videos = videos_of(learner)
    doubled = replace_targets(videos, torch.tensor([0, 0, 2]))
    metrics = run(learner, doubled, passes=2)
    assert metrics.counts.sum(1).tolist() == [4, 0, 2]


def replace_targets(videos: Videos, targets: Tensor) -> Videos:
    return videos._replace(targets=targets, soft_targets=F.one_hot(targets, 3).float())


def test_texts_are_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = learner_of(exact())
    tokenizer = learner.model.text.tokenizer
    encoded: list[str] = []
    encode = type(tokenizer).encode
    monkeypatch.setattr(
        type(tokenizer), "encode", lambda self, text: encoded.append(text) or encode(self, text)
    )
    videos = videos_of(learner)
    for _ in range(3):
        run(learner, videos)
    assert sorted(encoded) == sorted(learner.model.texts)
    learner.model.texts = ("a", "b", "c")
    run(learner, videos)
    assert encoded[3:] == ["a", "b", "c"]


def test_tokens_of_a_prediction_may_be_used_in_training() -> None:
    """Tensors made in inference mode cannot be saved for the backward pass."""
    text = fresh().model.text
    with torch.inference_mode():
        text.embed(["joy"])
    text.token_embedding.weight.requires_grad_()
    tokens, _ = text.embed(["joy"])
    tokens.sum().backward()


def test_lowered_frozen_weights_give_exactly_the_same_gradients() -> None:
    """Autocast converts the same matrices; here only the trained ones are left to convert."""
    model = fresh().model.eval()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in trained:
            parameter.normal_(std=0.1)
    batch = Batch(torch.randn(2, 3, 3, 32, 32), torch.eye(3)[:2])
    lowered = lower_frozen(model, torch.bfloat16)
    assert lowered.text.tokenizer is model.text.tokenizer
    assert [id(p) for p in lowered.parameters() if p.requires_grad] == list(map(id, trained))
    found, copies = [], []
    for network in (model, lowered):
        with torch.autocast("cpu", torch.bfloat16), Operations() as operations:
            loss = network.loss(network(batch), batch.targets)
        found.append((loss, *torch.autograd.grad(loss, trained, allow_unused=True)))
        copies.append(operations.count("_to_copy"))
    for one, other in zip(*found, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    blocks = len(model.vision.blocks) + len(model.text.blocks)
    assert copies[0] - copies[1] >= 8 * blocks  # four matrices and their biases in every block


def test_a_learner_with_lowered_weights_takes_the_same_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on CUDA; it saves, evaluates and draws texts for the model itself."""
    config = exact(precision="bf16", text_styles=["action_units", "names"])
    steps = []
    for lowered in (False, True):
        monkeypatch.setattr("peclip.training.learner.can_lower", lambda *_, on=lowered: on)
        torch.manual_seed(0)
        learner = learner_of(config)
        run(learner, videos_of(learner))
        steps.append(learner.weights())
        assert {p.dtype for p in learner.model.parameters()} == {torch.float32}
    assert steps[0].keys() == steps[1].keys()
    assert all(torch.equal(steps[0][name], steps[1][name]) for name in steps[0])
