from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from peclip.models.registry import build_model
from peclip.nn import gru
from peclip.nn.adapters import Adapter, TemporalDynamicAdapter, TokenGRU
from peclip.weights.resolve import debug_config


def randomise(module: torch.nn.Module, std: float = 0.5) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std)


def test_adapters_are_identity_at_init() -> None:
    x = torch.randn(6, 5, 16)
    assert torch.equal(Adapter(16, 2)(x), x)
    assert torch.equal(TemporalDynamicAdapter(16, 2)(x, 3), x)
    assert not torch.allclose(Adapter(16, 2, zero_init=False)(x), x)


def test_adapter_is_the_papers_equation() -> None:
    adapter, x = Adapter(16, 2, zero_init=False), torch.randn(3, 16)
    w0, b0, w1, b1 = (p.detach() for p in adapter.parameters())
    assert torch.allclose(adapter(x), x + F.gelu(x @ w0.T + b0) @ w1.T + b1, atol=1e-6)


def test_temporal_adapter_is_the_papers_equation() -> None:
    """The GRU is written out gate by gate: r, z, n of PyTorch's definition, from a zero state."""
    adapter = TemporalDynamicAdapter(8, 2)
    randomise(adapter)
    video = torch.randn(4, 3, 8)  # 4 frames, 3 tokens
    normed = F.layer_norm(video, (8,), adapter.norm.weight, adapter.norm.bias)
    w_in, w_h, b_in, b_h = (p.detach() for p in adapter.gru.parameters())
    expected = torch.empty_like(video)
    for token in range(3):
        state = torch.zeros(2)
        for frame in range(4):
            n = normed[frame, token]
            i = w_in @ adapter.down(n) + b_in
            h = w_h @ state + b_h
            reset, update = torch.sigmoid(i[:2] + h[:2]), torch.sigmoid(i[2:4] + h[2:4])
            new = torch.tanh(i[4:] + reset * h[4:])
            state = (1 - update) * new + update * state
            scale = torch.relu(adapter.scale(n))
            expected[frame, token] = video[frame, token] + scale * adapter.up(F.gelu(state))
    assert torch.allclose(adapter(video, 4), expected, atol=1e-5)


def test_time_never_leaves_a_video() -> None:
    adapter = TemporalDynamicAdapter(8, 2)
    randomise(adapter)
    a, b, c = torch.randn(4, 3, 8), torch.randn(4, 3, 8), torch.randn(4, 3, 8)
    alone = adapter(b, 4)
    assert torch.allclose(adapter(torch.cat([a, b, c]), 4)[4:8], alone, atol=1e-6)


def test_the_order_of_frames_matters() -> None:
    adapter = TemporalDynamicAdapter(8, 2)
    randomise(adapter)
    video = torch.randn(4, 3, 8)
    assert not torch.allclose(adapter(video.flip(0), 4).flip(0), adapter(video, 4), atol=1e-2)


def test_a_token_with_scale_zero_is_unchanged() -> None:
    adapter = TemporalDynamicAdapter(8, 2)
    randomise(adapter)
    with torch.no_grad():
        adapter.scale.weight.zero_()
        adapter.scale.bias.fill_(-1)
    x = torch.randn(4, 3, 8)
    assert torch.equal(adapter(x, 4), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_gru_computes_in_the_type_of_its_weights_and_not_of_autocast(dtype: torch.dtype) -> None:
    """Autocast would take it to fp16 on CUDA, even in bf16."""
    gru, x = TokenGRU(8), torch.randn(1, 3, 2, 8).to(dtype)
    expected = gru(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        states = gru(x)
    assert torch.equal(states, expected.to(dtype))


def test_the_operator_of_compiled_grus_and_its_gradient() -> None:
    module, x = TokenGRU(8), torch.randn(5, 7, 8, requires_grad=True)
    expected, _ = torch.nn.GRU.forward(module, x)
    weights = list(module.parameters())
    states = gru.gru(x, *weights)
    assert torch.equal(states, expected)
    factors = torch.randn_like(states)
    found, wanted = (
        torch.autograd.grad((values * factors).sum(), [x, *weights])
        for values in (states, expected)
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_compiled_tower_is_one_graph(*, checkpointed: bool) -> None:
    """Formerly it broke three times in each layer, at its GRU."""
    dynamo = pytest.importorskip("torch._dynamo")
    model = build_model(debug_config("pe-clip")).eval()
    model.checkpoint_activations(checkpointed)
    frames = torch.rand(1, 3, 3, 32, 32)
    with dynamo.config.patch(allow_rnn=True), torch.autocast("cpu", torch.bfloat16):
        prompts = [prompt.detach() for prompt in model.prompts()[1]]
        explanation = dynamo.explain(model.vision)(frames, prompts)
    assert explanation.graph_break_count == 0, explanation.break_reasons
    assert explanation.graph_count == 1


@pytest.mark.slow
def test_a_compiled_tower_computes_and_learns_the_same() -> None:
    model = build_model(debug_config("pe-clip")).eval()
    randomise(model, 0.1)
    trained = [p for n, p in model.vision.named_parameters() if "gru" in n]
    frames = torch.rand(1, 3, 3, 32, 32)
    expected = model.vision(frames)
    gradients = torch.autograd.grad(expected.square().sum(), trained)
    dynamo = pytest.importorskip("torch._dynamo")
    with dynamo.config.patch(allow_rnn=True):
        model.vision.compile(backend="aot_eager", fullgraph=True)
        found = model.vision(frames)
        torch.testing.assert_close(found, expected)
        again = torch.autograd.grad(found.square().sum(), trained)
    for one, other in zip(again, gradients, strict=True):
        torch.testing.assert_close(one, other)
