from __future__ import annotations

import math

import pytest
import torch
from timm.layers import GELUTanh, apply_rot_embed_cat
from torch import nn

from peclip.nn.canonical_block import (
    Gate,
    Rotary,
    canonical_activation,
    canonical_norm,
    folded,
    joined,
    multiply,
)
from peclip.nn.clip_block import QuickGELU
from peclip.nn.transformers import LayerNorm


def test_rotary_turns_pairs_by_their_angle() -> None:
    """By hand: (1, 0) turned by 90 degrees is (0, 1); tokens before and after the patches stay."""
    angles = torch.tensor([[math.pi / 2] * 4, [math.pi] * 4])
    rotary = Rotary(angles.sin(), angles.cos(), 1, halves=False)
    x = torch.tensor([1.0, 0.0, 0.0, 2.0]).expand(1, 1, 4, 4)
    expected = torch.tensor(
        [[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, -2.0, 0.0], [-1.0, 0.0, 0.0, -2.0], [1.0, 0.0, 0.0, 2.0]]
    )
    torch.testing.assert_close(rotary(x)[0, 0], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(rotary(x[:, :, :2])[0, 0], expected[:2], atol=1e-6, rtol=0)
    assert torch.equal(rotary(x[:, :, :1]), x[:, :, :1])


@pytest.mark.parametrize("halves", [True, False])
def test_rotary_equals_timm(halves: bool) -> None:
    sine, cosine = torch.randn(6, 8), torch.randn(6, 8)
    x = torch.randn(2, 3, 6, 8)
    expected = apply_rot_embed_cat(x, torch.cat([sine, cosine], dim=-1), half=halves)
    torch.testing.assert_close(Rotary(sine, cosine, 0, halves=halves)(x), expected)


def test_rotary_keeps_the_type() -> None:
    rotary = Rotary(torch.zeros(2, 4), torch.ones(2, 4), 0, halves=True)
    assert rotary(torch.randn(1, 1, 3, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_gate_multiplies_the_halves() -> None:
    x = torch.tensor([[2.0, 3.0, 5.0, 7.0]])
    assert Gate(nn.ReLU(), gate_last=False)(-x).tolist() == [[0.0, 0.0]]
    assert Gate(nn.ReLU(), gate_last=True)(x).tolist() == [[10.0, 21.0]]


def test_a_folded_convolution_equals_both_layers() -> None:
    conv, norm = nn.Conv2d(3, 4, 2, 2, bias=False), nn.BatchNorm2d(4).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    norm.running_var.uniform_(0.5, 2.0)
    x = torch.randn(2, 3, 8, 8)
    expected = norm(conv(x))
    torch.testing.assert_close(folded(conv, norm)(x), expected, atol=1e-5, rtol=1e-5)


def test_activations_are_found_by_their_values() -> None:
    assert canonical_activation(GELUTanh()).approximate == "tanh"
    assert canonical_activation(nn.GELU()).approximate == "none"
    assert isinstance(canonical_activation(QuickGELU()), QuickGELU)
    assert isinstance(canonical_activation(nn.SiLU()), nn.SiLU)


def test_a_norm_shares_its_parameters() -> None:
    norm = nn.LayerNorm(8, eps=1e-3)
    own = canonical_norm(norm)
    assert isinstance(own, LayerNorm)
    assert own.weight is norm.weight
    assert own.eps == 1e-3
    identity = nn.Identity()
    assert canonical_norm(identity) is identity


def test_small_helpers() -> None:
    both = joined([torch.tensor([[1.0]]), torch.tensor([[2.0], [3.0]])])
    assert both.tolist() == [[1.0], [2.0], [3.0]]
    x = torch.tensor([[1.0, 2.0]])
    assert multiply(x, None, None) is x
    assert multiply(x, torch.eye(2), torch.tensor([1.0, 1.0])).tolist() == [[2.0, 3.0]]
