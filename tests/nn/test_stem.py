"""The convolutional stem of small vision towers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from peclip.errors import CheckpointError
from peclip.nn.clip import load_backbone
from peclip.nn.stem import SeparableStem, standardize, stems_of

CHANNELS, STRIDES = [4, 8, 8, 12], [1, 2, 1]


@pytest.fixture
def stem() -> SeparableStem:
    torch.manual_seed(0)
    return SeparableStem(CHANNELS, STRIDES, width=6).eval()


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Weights of a network of the size of `stem`, as a face network is published."""
    torch.manual_seed(1)
    tensors = {"conv1.weight": torch.randn(4, 3, 3, 3), "conv1.bias": torch.randn(4)}
    for number, (before, after) in enumerate(pairwise(CHANNELS)):
        tensors[f"dw.{number}.weight"] = torch.randn(before, 1, 3, 3)
        tensors[f"dw.{number}.bias"] = torch.randn(before)
        tensors[f"pw.{number}.weight"] = torch.randn(after, before, 1, 1)
        tensors[f"pw.{number}.bias"] = torch.randn(after)
    path = tmp_path / "faces.safetensors"
    save_file({name: tensor.half() for name, tensor in tensors.items()}, path)
    return path


def mobilenet(tensors: dict[str, Tensor], bgr: Tensor) -> Tensor:
    """MobileNetV1 as it was trained: BGR minus a mean, one pixel of padding on the right and below at stride 2."""
    t = {name: tensor.float() for name, tensor in tensors.items()}
    x = bgr - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    x = F.relu6(F.conv2d(F.pad(x, (0, 1, 0, 1)), t["conv1.weight"], t["conv1.bias"], stride=2))
    for i, stride in enumerate(STRIDES):
        x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        x = F.conv2d(x, t[f"dw.{i}.weight"], t[f"dw.{i}.bias"], stride=stride, groups=x.shape[1])
        x = F.relu6(F.conv2d(F.relu6(x), t[f"pw.{i}.weight"], t[f"pw.{i}.bias"]))
    return x


def test_a_grid_has_one_place_per_patch(stem: SeparableStem) -> None:
    assert stem(torch.rand(2, 3, 16, 16)).shape == (2, 6, 4, 4)
    assert load_backbone("nano", None).vision(torch.randn(1, 2, 3, 96, 96)).shape == (1, 2, 192)


def test_face_network_weights_give_the_features_of_that_network(
    stem: SeparableStem, faces: Path
) -> None:
    stem.load_faces(faces)
    images = torch.rand(2, 3, 16, 16)
    bgr = (115 + 55 * standardize(images)).flip(1)  # grey levels of a typical face
    expected = stem.projection(mobilenet(load_file(faces), bgr))
    torch.testing.assert_close(stem(images), expected, atol=1e-4, rtol=1e-4)


def test_face_weights_load_the_trunk_and_not_the_projection(
    stem: SeparableStem, faces: Path
) -> None:
    before = [parameter.detach().clone() for parameter in stem.projection.parameters()]
    trunk = [parameter.detach().clone() for parameter in stem.trunk()]
    stem.load_faces(faces)
    assert all(map(torch.equal, before, stem.projection.parameters()))
    assert not any(map(torch.equal, trunk, stem.trunk()))
    assert len(stem.trunk()) == 2 + 3 * 4
    assert len(stem.trunk(1)) == 2 + 4


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("dw.1.bias", None),
        ("pw.2.weight", torch.zeros(12, 9, 1, 1)),
        ("pw.3.weight", torch.zeros(1)),
        ("dw.0.bias", torch.full((4,), torch.nan)),
    ],
)
def test_other_weights_are_refused_and_change_nothing(
    stem: SeparableStem, faces: Path, tmp_path: Path, name: str, tensor: Tensor | None
) -> None:
    tensors = load_file(faces)
    tensors.pop(name, None)
    other = tmp_path / "other.safetensors"
    save_file(tensors | ({} if tensor is None else {name: tensor}), other)
    before = [parameter.detach().clone() for parameter in stem.parameters()]
    with pytest.raises(CheckpointError, match=name):
        stem.load_faces(other)
    assert all(map(torch.equal, before, stem.parameters()))


def test_stems_of_a_model_are_found(stem: SeparableStem) -> None:
    assert stems_of(nn.Sequential(nn.Linear(2, 2), stem)) == [stem]
    assert stems_of(nn.Linear(2, 2)) == []


def test_strided_convolutions_learn_in_fp32_on_a_cpu(stem: SeparableStem) -> None:
    """In bf16 their gradient takes a hundred times as long there."""
    with torch.autocast("cpu", torch.bfloat16):
        strided = [layer for layer in stem.layers if layer.depthwise.conv.stride == (2, 2)]
        outputs = [layer.depthwise(torch.rand(2, 8, 8, 8)) for layer in strided]
        assert [output.dtype for output in outputs] == [torch.float32]
        with torch.no_grad():
            assert strided[0].depthwise(torch.rand(2, 8, 8, 8)).dtype == torch.bfloat16
        outputs[0].sum().backward()
    assert strided[0].depthwise.conv.weight.grad is not None


def test_standardized_images_ignore_brightness_and_contrast() -> None:
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    out = standardize(images)
    torch.testing.assert_close(out.mean((1, 2, 3)), torch.zeros(3, dtype=torch.float64))
    assert (out.std((1, 2, 3)) - 1).abs().max() < 0.15
    torch.testing.assert_close(standardize(images + 2), out)
    assert (standardize(2 * images) - out).abs().max() < 0.3  # but for the 0.1 of the deviation
    torch.testing.assert_close(standardize(images[1:2]), out[1:2])


def test_noise_in_a_uniform_image_is_not_amplified() -> None:
    flat = torch.full((1, 3, 8, 8), 0.7)
    flat[0, 0, 0, 0] += 0.01
    assert standardize(flat).abs().max() < 0.11
