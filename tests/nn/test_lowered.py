"""Vision towers whose weights are in bf16: here on a CPU, where all of their operators exist too."""

from __future__ import annotations

import pytest
import torch
from operations import Operations

from peclip import PEClip
from peclip.models.frozen import FrozenModel
from peclip.models.registry import build_model
from peclip.nn.adapters import TokenGRU
from peclip.nn.lowered import LoweredTower, can_lower, lower
from peclip.types import Batch
from peclip.weights.resolve import debug_config

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_only_a_vision_tower_on_cuda_below_fp32_is_lowered() -> None:
    assert can_lower(CUDA, torch.bfloat16)
    assert can_lower(CUDA, torch.float16)
    assert not can_lower(CUDA, torch.float32)
    assert not can_lower(CPU, torch.bfloat16)
    other = torch.nn.Linear(2, 2)
    assert lower(other, torch.bfloat16) is other


@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
def test_a_lowered_model_predicts_nearly_the_same(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With QuickGELU folded into the weights around it, and weights that are not zero."""
    model = build_model(debug_config(architecture)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    batch = Batch(torch.randn(2, 3, 3, 32, 32))
    expected = FrozenModel(model, CPU, "fp32")(batch)
    before = [parameter.clone() for parameter in model.parameters()]
    monkeypatch.setattr("peclip.models.frozen.can_lower", lambda *_: True)
    frozen = FrozenModel(model, CPU, "bf16")
    found = frozen(batch)
    assert isinstance(frozen.network.vision, LoweredTower)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.softmax(-1), expected.softmax(-1), rtol=0, atol=0.05)
    assert all(map(torch.equal, before, model.parameters()))


def test_folding_quick_gelu_is_exact_in_fp32() -> None:
    tower = build_model(debug_config("pe-clip")).eval().vision
    frames = torch.randn(2, 3, 3, 32, 32)
    with torch.inference_mode():
        expected = tower(frames)
        torch.testing.assert_close(lower(tower, torch.float32)(frames), expected)
        torch.testing.assert_close(tower(frames), expected)


def test_nano_in_bf16_is_within_its_bound() -> None:
    """Its convolutional stem reads fp32; the logits of one window of noise."""
    nano = PEClip.from_pretrained(device="cpu", precision="fp32")
    crops = torch.randint(0, 256, (1, 8, 3, 96, 96), dtype=torch.uint8)
    frames = nano.preprocess(crops)
    with torch.inference_mode():
        exact = nano.model(Batch(frames)).logits
        network = FrozenModel(nano.model, CPU, "fp32").network
        network.vision = lower(nano.model.vision, torch.bfloat16)
        rough = network(Batch(frames), nano.label_features()).logits
    torch.testing.assert_close(rough.softmax(-1), exact.softmax(-1), rtol=0, atol=0.06)


def test_weights_are_converted_once_and_grus_stay_in_fp32() -> None:
    """Under autocast as `FrozenModel` has it; what is still converted is an activation."""
    tower = build_model(debug_config("pe-clip")).eval().vision
    lowered = lower(tower, torch.bfloat16)
    grus = [module for module in lowered.modules() if isinstance(module, TokenGRU)]
    theirs = [module for module in tower.modules() if isinstance(module, TokenGRU)]
    assert len(grus) == 2
    assert all(one is other for one, other in zip(grus, theirs, strict=True))
    own = {id(parameter) for gru in grus for parameter in gru.parameters()}
    others = [p for p in lowered.parameters() if id(p) not in own]
    assert {p.dtype for p in others} == {torch.bfloat16}
    frames = torch.randn(1, 3, 3, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        with Operations() as ours:
            lowered(frames)
        with Operations() as cast:
            tower(frames)
    # The frames, the input and the output of both GRUs, and the features.
    assert ours.count("_to_copy") == 6
    assert cast.count("_to_copy") > 30


@pytest.mark.slow
def test_a_lowered_tower_is_one_graph() -> None:
    dynamo = pytest.importorskip("torch._dynamo")
    tower = lower(build_model(debug_config("pe-clip")).eval().vision, torch.bfloat16)
    frames = torch.rand(1, 3, 3, 32, 32)
    with torch.no_grad(), dynamo.config.patch(allow_rnn=True), torch.autocast("cpu"):
        explanation = dynamo.explain(tower)(frames)
    assert explanation.graph_break_count == 0, explanation.break_reasons
