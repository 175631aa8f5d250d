"""A model whose weights stay as they are."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from peclip.labels import LabelSet
from peclip.models.frozen import FrozenModel
from peclip.models.registry import build_model
from peclip.nn import packed
from peclip.nn.prompts import CoupledPrompts
from peclip.types import Batch
from peclip.weights.resolve import debug_config

CPU = torch.device("cpu")


@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
def test_it_predicts_as_the_model_does(architecture: str) -> None:
    model = build_model(debug_config(architecture)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    batch = Batch(torch.randn(2, 3, 3, 32, 32))
    with torch.inference_mode():
        expected = model(batch).logits
    frozen = FrozenModel(model, CPU, "fp32")
    torch.testing.assert_close(frozen(batch), expected)
    if packed.can_pack(CPU, "bf16"):
        frozen = FrozenModel(model, CPU, "bf16")
        assert isinstance(frozen.network.vision.blocks[0].block, packed.PackedBlock)
        assert frozen(batch).dtype == torch.float32
        torch.testing.assert_close(
            frozen(batch).softmax(-1), expected.softmax(-1), rtol=0, atol=0.05
        )


@pytest.mark.parametrize("mirror", [False, True])
def test_its_features_give_the_logits(mirror: bool) -> None:
    """The mean logits are those of the mean features, whose length a picture does not need."""
    model = build_model(debug_config("pe-clip")).eval()
    model.mirror = mirror
    frozen, batch = FrozenModel(model, CPU, "fp32"), Batch(torch.randn(2, 3, 3, 32, 32))
    features = frozen.features(batch)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2))
    logits = features @ frozen.label_features.T / model.temperature
    scale = (frozen(batch) / logits).mean(-1, keepdim=True)
    torch.testing.assert_close(frozen(batch), logits * scale, rtol=1e-3, atol=1e-3)
    assert (scale < 1).all() if mirror else (scale - 1).abs().max() < 1e-4


def test_the_text_tower_is_not_copied_and_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(debug_config("pe-clip")).eval()
    asked = []
    model.text.register_forward_hook(lambda *_: asked.append(torch.is_autocast_enabled("cpu")))
    frozen = FrozenModel(model, CPU, "bf16")
    assert frozen.network.text is model.text
    for _ in range(3):
        frozen(Batch(torch.rand(1, 2, 3, 32, 32)))
    assert asked == [False]  # and in fp32


def test_without_onednn_kernels_the_model_itself_predicts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    model = build_model(debug_config("pe-clip")).eval()
    network = FrozenModel(model, CPU, "bf16").network
    assert network.vision is model.vision
    assert network.text is model.text


def test_prompts_are_computed_once_and_the_model_keeps_its_prompts() -> None:
    model = build_model(debug_config("pe-clip")).eval()
    asked: list[object] = []
    model.prompts.register_forward_hook(lambda *_: asked.append(1))
    frozen = FrozenModel(model, CPU, "fp32")
    batch = Batch(torch.rand(1, 2, 3, 32, 32))
    frozen(batch)
    first = len(asked)
    frozen(batch)
    assert len(asked) == first == 2  # for the texts, and for the frames
    assert isinstance(model.prompts, CoupledPrompts)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_changed_in_place_are_used(precision: str) -> None:
    model = build_model(debug_config("pe-clip")).eval()
    frozen = FrozenModel(model, CPU, precision)
    batch = Batch(torch.rand(1, 2, 3, 32, 32))
    before = frozen(batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    after = frozen(batch)
    assert not torch.equal(after, before)
    assert torch.equal(after, FrozenModel(model, CPU, precision)(batch))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_replaced_weights_are_used(precision: str) -> None:
    model = build_model(debug_config("pe-clip")).eval()
    frozen = FrozenModel(model, CPU, precision)
    batch = Batch(torch.rand(1, 2, 3, 32, 32))
    before = frozen(batch)
    for _ in range(2):  # the second data may get the memory of the original
        for parameter in model.parameters():
            parameter.data = parameter.data + 0.1 * torch.randn_like(parameter)
    after = frozen(batch)
    assert not torch.equal(after, before)
    assert torch.equal(after, FrozenModel(model, CPU, precision)(batch))


def test_a_changed_temperature_is_used() -> None:
    model = build_model(debug_config("pe-clip")).eval()
    frozen = FrozenModel(model, CPU, "fp32")
    batch = Batch(torch.rand(1, 2, 3, 32, 32))
    before = frozen(batch)
    model.temperature *= 2
    torch.testing.assert_close(frozen(batch), before / 2)


def test_it_can_be_copied_and_pickled_after_a_prediction() -> None:
    frozen = FrozenModel(build_model(debug_config("pe-clip")).eval(), CPU, "bf16")
    batch = Batch(torch.rand(1, 2, 3, 32, 32))
    expected = frozen(batch)
    assert torch.equal(copy.deepcopy(frozen)(batch), expected)
    assert pickle.loads(pickle.dumps(frozen))(batch).shape == expected.shape


@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
def test_a_mirroring_model_predicts_the_mean_of_both_images(architecture: str) -> None:
    config = debug_config(architecture)
    one_sided, both = (build_model(config.derive(mirror=m)).eval() for m in (False, True))
    torch.manual_seed(0)
    for parameter in one_sided.parameters():
        nn.init.normal_(parameter, std=0.1)
    both.load_state_dict(one_sided.state_dict())
    batch = Batch(torch.randn(2, 3, 3, 32, 32))
    plain, mirroring = FrozenModel(one_sided, CPU, "fp32"), FrozenModel(both, CPU, "fp32")
    left, right = plain(batch), plain(Batch(batch.frames.flip(-1)))
    assert (left - right).abs().max() > 0.01
    torch.testing.assert_close(mirroring(batch), (left + right) / 2)
    torch.testing.assert_close(mirroring(batch.mirrored()), mirroring(batch))


@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
def test_a_prior_adjusts_the_mean_of_both_images(architecture: str) -> None:
    """By hand: mean of both logits, plus the logarithms of the factors; the loss does not see it."""
    labels = ("happiness", "sadness", "anger")
    config = debug_config(architecture).derive(labels=labels, mirror=True)
    prior = {"anger": 0.1, "happiness": 0.7, "sadness": 0.2}  # by name, in any order
    videos = {"happiness": 0.5, "sadness": 0.3, "anger": 0.2}
    torch.manual_seed(0)
    adjusted = {"prior": prior, "label_frequencies": videos, "prior_weight": 0.5}
    model = build_model(config.derive(**adjusted)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    batch = Batch(torch.randn(2, 3, 3, 32, 32))
    with torch.inference_mode():
        both = [model(view).logits for view in (batch, batch.mirrored())]
    mean = torch.stack(both).mean(0)
    frozen = FrozenModel(model, CPU, "fp32")
    for weight, assumed in (
        (None, [1.25 / 3, 0.95 / 3, 0.8 / 3]),  # the mean of the videos' frequencies and 1/3
        (0.0, [0.5, 0.3, 0.2]),
        (1.0, [1 / 3, 1 / 3, 1 / 3]),
    ):
        factors = torch.tensor(assumed) / torch.tensor([0.7, 0.2, 0.1])
        torch.testing.assert_close(frozen(batch, weight), mean + factors.log())
    model.prior_weight = None
    unadjusted = frozen(batch)
    model.prior = model.label_frequencies = None
    assert torch.equal(frozen(batch), unadjusted), "without a weight nothing changes, bit for bit"


def test_other_labels_keep_or_drop_the_prior() -> None:
    config = debug_config().derive(labels=("happiness", "sadness", "anger"))
    prior = {"happiness": 0.5, "sadness": 0.3, "anger": 0.2}
    stored = {"prior": prior, "label_frequencies": prior, "prior_weight": 0.5}
    model = build_model(config.derive(**stored))
    for names, expected in (
        (("anger", "happiness", "sadness"), {"anger": 0.2, "happiness": 0.5, "sadness": 0.3}),
        (("anger", "sadness"), {"anger": 0.4, "sadness": 0.6}),
        (("anger", "fear"), None),
    ):
        other = model.with_labels(LabelSet(names))
        derived = config.derive(**stored).with_labels(names, {})
        weight = None if expected is None else 0.5
        for changed in (other, derived):
            assert changed.prior == changed.label_frequencies == expected
            assert changed.prior_weight == weight
    assert (model.prior, model.label_frequencies, model.prior_weight) == (prior, prior, 0.5)
