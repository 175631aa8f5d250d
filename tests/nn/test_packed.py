"""Linear layers whose weights are laid out once, for prediction."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from peclip.models.registry import build_model
from peclip.nn.adapters import Adapter, TokenGRU
from peclip.nn.packed import (
    PackedAdapter,
    PackedGRU,
    PackedLinear,
    PackedPatches,
    can_pack,
    pack,
)
from peclip.nn.towers import VisionTower
from peclip.runtime import autocast
from peclip.weights.resolve import debug_config

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(
    not can_pack(CPU, "bf16"), reason="this build of torch has no bf16 kernels of oneDNN"
)


def tower_of(architecture: str, *, quick_gelu: bool) -> VisionTower:
    """Returns an adapted vision tower with random weights, large enough for its activation to matter."""
    torch.manual_seed(0)
    tower = build_model(debug_config(architecture)).vision
    assert isinstance(tower, VisionTower)
    for parameter in tower.parameters():
        nn.init.normal_(parameter, std=0.3)
    if not quick_gelu:
        for module in tower.modules():
            if hasattr(module, "gelu"):
                module.gelu = nn.GELU()
    return tower.requires_grad_(False).eval()


def test_only_a_cpu_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not can_pack(torch.device("cuda"), "bf16")
    assert not can_pack(torch.device("cuda"), "fp32")
    assert not can_pack(CPU, "fp16")
    for capability, packed in (("AVX512", True), ("AVX2", False), ("DEFAULT", False)):
        monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda name=capability: name)
        assert can_pack(CPU, "fp32") is packed


@pytest.mark.parametrize(
    ("name", "activation"),
    [("none", lambda x: x), ("gelu", F.gelu), ("swish", F.silu)],
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_packed_layer_is_a_linear_layer_and_its_activation(
    name: str, activation: nn.Module, bias: bool, dtype: torch.dtype
) -> None:
    layer = nn.Linear(48, 80, bias=bias, dtype=dtype).requires_grad_(False)
    x = torch.randn(3, 7, 48, dtype=dtype)
    expected = activation(
        F.linear(x.float(), layer.weight.float(), None if not bias else layer.bias.float())
    )
    found = PackedLinear(layer.weight, layer.bias, dtype, name)(x)
    assert (found.dtype, found.shape) == (dtype, expected.shape)
    rtol, atol = (2**-7, 2**-8) if dtype == torch.bfloat16 else (1e-5, 1e-6)
    torch.testing.assert_close(found.float(), expected, rtol=rtol, atol=atol)


def near(found: torch.Tensor, expected: torch.Tensor, digits: int) -> None:
    assert found.shape == expected.shape
    torch.testing.assert_close(found.float(), expected, rtol=2**-digits, atol=2**-digits)


def test_each_packed_module_does_what_its_original_does() -> None:
    adapter = Adapter(64, 8, zero_init=False)
    gru = TokenGRU(24)
    patches = nn.Conv2d(3, 40, 8, stride=8, bias=False)
    x, h, images = torch.randn(4, 7, 64), torch.randn(2, 5, 3, 24), torch.rand(2, 3, 24, 16)
    with torch.no_grad():
        for dtype, digits in ((torch.bfloat16, 6), (torch.float32, 18)):
            near(PackedAdapter(adapter, dtype)(x), adapter(x), digits)
            near(PackedGRU(gru, dtype)(h), gru(h), digits)
            near(PackedPatches(patches, dtype)(images), patches(images), digits)


def test_other_convolutions_are_unchanged() -> None:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 4, 2, stride=2))
    packed = pack(stem, CPU, "bf16")
    assert isinstance(packed[0], nn.Conv2d)
    assert isinstance(packed[1], PackedPatches)


@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_a_packed_tower_computes_as_bf16_does(architecture: str, quick_gelu: bool) -> None:
    tower = tower_of(architecture, quick_gelu=quick_gelu)
    packed = pack(tower, CPU, "bf16")
    frames = torch.randn(2, 4, 3, 32, 32)
    with torch.inference_mode():
        exact = tower(frames, groups=(2,))
        with autocast(CPU, "bf16"):
            plain, found = tower(frames, groups=(2,)), packed(frames, groups=(2,))
    spread = exact.abs().max()
    # Rounded at other places, and no further from the exact features than plain bf16 is.
    assert (found - exact).abs().max() < 2 * (plain - exact).abs().max() < 0.2 * spread


@pytest.mark.skipif(not can_pack(CPU, "fp32"), reason="fp32 is packed only with AVX-512")
@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_a_packed_tower_computes_the_same_in_fp32(architecture: str, quick_gelu: bool) -> None:
    tower = tower_of(architecture, quick_gelu=quick_gelu)
    packed = pack(tower, CPU, "fp32")
    assert any(isinstance(module, PackedLinear) for module in packed.modules())
    frames = torch.randn(2, 4, 3, 32, 32)
    with torch.inference_mode():
        exact, found = tower(frames, groups=(2,)), packed(frames, groups=(2,))
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=float(1e-5 * exact.abs().max()))


def test_packing_leaves_the_model_unchanged_and_shares_other_parameters() -> None:
    tower = tower_of("pe-clip", quick_gelu=True)
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    packed = pack(tower, CPU, "bf16")
    assert tower.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in tower.state_dict().items())
    assert not any(isinstance(module, PackedLinear) for module in tower.modules())
    linear = [m for m in packed.modules() if isinstance(m, nn.Linear)]
    assert not linear
    own = {parameter.data_ptr() for parameter in tower.parameters()}
    assert all(parameter.data_ptr() in own for parameter in packed.parameters())
    assert isinstance(packed, VisionTower)
    assert packed.class_embedding is tower.class_embedding


def test_an_adapter_in_several_places_is_packed_once() -> None:
    adapter = Adapter(16, 4)
    packed = pack(nn.Sequential(adapter, nn.ReLU(), adapter), CPU, "bf16")
    assert packed[0] is packed[2]
    assert isinstance(packed[0], PackedAdapter)
