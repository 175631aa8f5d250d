"""The stem for prediction on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from peclip.nn.clip import load_backbone
from peclip.nn.packed import can_pack, pack
from peclip.nn.packed_stem import PackedConv, PackedStem, can_pack_stem
from peclip.nn.stem import ConvReLU6, SeparableStem

CPU = torch.device("cpu")

supported = pytest.mark.skipif(
    not can_pack_stem(CPU), reason="this processor or torch has no fused convolutions of oneDNN"
)


@pytest.fixture
def stem() -> SeparableStem:
    """A stem with strides 2, 1, 2 and 1, and with biases that show a mistake in padding."""
    torch.manual_seed(0)
    stem = SeparableStem([8, 16, 24, 24], [1, 2, 1], width=6).eval().requires_grad_(False)
    for name, parameter in stem.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return stem


def test_only_x86_with_onednn_has_a_packed_stem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not can_pack_stem(torch.device("cuda"))
    with monkeypatch.context() as patched:
        patched.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "SVE256")
        assert not can_pack_stem(CPU)
    with monkeypatch.context() as patched:
        patched.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        assert not can_pack_stem(CPU)


def test_without_support_the_encoder_itself_predicts(
    stem: SeparableStem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "SVE256")
    encoder = nn.Sequential(stem)
    assert pack(encoder, torch.device("cuda"), "fp32") is encoder


@supported
def test_a_strided_convolution_is_padded_right_and_below() -> None:
    module = ConvReLU6(1, 1, 3, stride=2).requires_grad_(False)
    module.conv.weight.zero_()[0, 0, 2, 2] = 1  # copies the pixel two to the right and two below
    module.conv.bias.fill_(0.5)
    image = torch.arange(16.0).view(1, 1, 4, 4) - 8  # the pixel (2, 2) is 2
    expected = torch.tensor([[2.5, 0.5], [0.5, 0.5]])
    torch.testing.assert_close(module(image)[0, 0], expected)
    turned = PackedConv(module, torch.float32)(image.flip(2, 3))
    torch.testing.assert_close(turned.flip(2, 3)[0, 0], expected)


@supported
def test_activations_are_limited_to_0_and_6_except_those_of_the_projection() -> None:
    module = ConvReLU6(1, 1, 1).requires_grad_(False)
    module.conv.weight.fill_(1)
    image = torch.tensor([[-3.0, 0.0], [5.0, 9.0]]).view(1, 1, 2, 2)
    limited = PackedConv(module, torch.float32)(image)
    assert limited.flatten().tolist() == [0, 0, 5, 6]
    assert PackedConv(module.conv, torch.float32)(image).flatten().tolist() == [-3, 0, 5, 9]


@supported
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (3, 3, 16, 24), (35, 3, 16, 16)])
def test_a_packed_stem_predicts_as_the_stem_does(
    stem: SeparableStem, shape: tuple[int, ...]
) -> None:
    images = torch.rand(shape)
    with torch.inference_mode():
        expected, found = stem(images), PackedStem(stem)(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(
    not (can_pack_stem(CPU) and can_pack(CPU, "bf16")), reason="no bf16 kernels of oneDNN"
)
def test_in_bf16_a_packed_stem_is_as_exact_as_the_stem(stem: SeparableStem) -> None:
    images = torch.rand(4, 3, 16, 16)
    with torch.inference_mode():
        exact = stem(images)
        with torch.autocast("cpu", torch.bfloat16):
            plain, packed = stem(images), pack(stem, CPU, "bf16")
            found = packed(images)
    assert isinstance(packed, PackedStem)
    assert found.dtype == torch.bfloat16
    assert (found - exact).abs().max() < 2 * (plain - exact).abs().max() < 0.1 * exact.abs().max()


@supported
def test_in_fp32_only_the_stem_of_an_encoder_is_packed() -> None:
    torch.manual_seed(0)
    tower = load_backbone("nano", None).vision.eval()
    packed = pack(tower, CPU, "fp32")
    assert isinstance(packed.patch_embedding, PackedStem)
    assert isinstance(tower.patch_embedding, SeparableStem)
    own = {parameter.data_ptr() for parameter in tower.parameters()}
    assert all(parameter.data_ptr() in own for parameter in packed.parameters())
    frames = torch.randn(1, 2, 1, 96, 96).expand(-1, -1, 3, -1, -1)  # grey
    with torch.inference_mode():
        torch.testing.assert_close(packed(frames), tower(frames), atol=1e-5, rtol=1e-5)


def test_an_encoder_on_another_device_is_not_replaced() -> None:
    encoder = nn.Sequential(nn.Linear(2, 2))
    assert pack(encoder, torch.device("cuda"), "fp32") is encoder
