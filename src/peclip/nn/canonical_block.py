"""The parts of a transformer block of timm, in the layout of open_clip that `ClipBlock` computes.

Adapters, packing and lowering know this one layout only. The parameters are those of the block, except that separate
projections to queries, keys and values become one matrix, which is zero where a block has no bias.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from peclip.nn.clip_block import QuickGELU
from peclip.nn.transformers import LayerNorm


class Rotary(nn.Module):
    """Rotary positions: turns pairs of channels of the patches' queries and keys by angles.

    Su et al.: "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, arXiv 2104.09864. Tokens before the
    patches (the class token) and after them (prompts) have no position and are not turned.

    Args:
        sine: (P, D) of the angles of P patches, for heads of D channels.
        cosine: (P, D)
        first: index of the first patch.
        halves: whether a pair is a channel of the first half and one of the second, or two neighbours.
    """

    sine: Tensor
    cosine: Tensor

    def __init__(self, sine: Tensor, cosine: Tensor, first: int, *, halves: bool) -> None:
        super().__init__()
        self.first, self.halves = first, halves
        self.register_buffer("sine", sine.detach().clone(), persistent=False)
        self.register_buffer("cosine", cosine.detach().clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, H, L, D) to the same shape; L may end before the last patch."""
        end = min(self.first + len(self.sine), x.shape[2])
        if end <= self.first:
            return x
        before, patches, after = x[:, :, : self.first], x[:, :, self.first : end], x[:, :, end:]
        sine, cosine = self.sine[: end - self.first], self.cosine[: end - self.first]
        turned = patches * cosine + self._partners(patches) * sine
        return torch.cat([before, turned.to(x.dtype), after], dim=2)

    def _partners(self, x: Tensor) -> Tensor:
        if self.halves:
            first, second = x.chunk(2, dim=-1)
            return torch.cat([-second, first], dim=-1)
        return torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)


class Attention(nn.Module):
    """The weights of an attention layer under the names of `nn.MultiheadAttention`.

    Args:
        weight: (3W, W), of queries, keys and values.
        bias: (3W,)
        out_proj: of the joined heads.
        num_heads: H.
        turn: of queries and keys by their positions, or `None`.
        inner: norm of the joined heads, or `None`.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        bias: nn.Parameter,
        out_proj: nn.Module,
        num_heads: int,
        turn: Rotary | None,
        inner: nn.Module | None,
    ) -> None:
        super().__init__()
        self.in_proj_weight, self.in_proj_bias = weight, bias
        self.embed_dim, self.num_heads = weight.shape[1], num_heads
        self.out_proj, self.turn, self.inner = out_proj, turn, inner


class ChannelScale(nn.Module):
    """A layer scale: a learned factor per channel."""

    def __init__(self, gamma: nn.Parameter) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, W) to (…, W)."""
        return x * self.gamma


class Gate(nn.Module):
    """`activation(a) * b` for the halves a and b of the channels (Shazeer, 2020, arXiv 2002.05202).

    Args:
        activation: of the gate.
        gate_last: whether the gate is the second half.
    """

    def __init__(self, activation: nn.Module, *, gate_last: bool) -> None:
        super().__init__()
        self.activation, self.gate_last = activation, gate_last

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, 2H) to (…, H)."""
        a, b = x.chunk(2, dim=-1)
        gated: Tensor = a * self.activation(b) if self.gate_last else self.activation(a) * b
        return gated


class CanonicalBlock(nn.Module):
    """The two branches of a block: `x + ls_1(attn(ln_1(x)))`, then `x + ls_2(mlp(ln_2(x)))`.

    A block with norms after its branches has them as `ls_1` and `ls_2`.
    """

    def __init__(
        self,
        norms: tuple[nn.Module, nn.Module],
        attn: nn.Module,
        mlp: nn.Module,
        scales: tuple[nn.Module, nn.Module],
    ) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = norms
        self.attn, self.mlp = attn, mlp
        self.ls_1, self.ls_2 = scales


def joined(parts: list[Tensor]) -> nn.Parameter:
    """Returns one parameter of the rows of several tensors."""
    return nn.Parameter(torch.cat([part.detach() for part in parts]))


def canonical_norm(norm: nn.Module) -> nn.Module:
    """Returns a layer norm that keeps the type of its input; another module as it is."""
    if not isinstance(norm, nn.LayerNorm) or isinstance(norm, LayerNorm):
        return norm
    own = LayerNorm(norm.normalized_shape, norm.eps, elementwise_affine=False)
    own.weight, own.bias = norm.weight, norm.bias
    return own


def canonical_activation(activation: nn.Module) -> nn.Module:
    """Returns torch's GELU for a function that equals it, and peclip's QuickGELU; another module as it is."""
    probe = torch.linspace(-4, 4, 33, device="cpu")
    candidates = (nn.GELU(), nn.GELU(approximate="tanh"), QuickGELU())
    if any(True for _ in activation.parameters()):
        return activation
    values = activation(probe.clone())
    for candidate in candidates:
        if torch.equal(values, candidate(probe.clone())):
            return candidate
    return activation


def plain_mlp(fc1: nn.Linear, activation: nn.Module, norm: nn.Module, fc2: nn.Linear) -> nn.Module:
    """Returns `fc2(norm(activation(fc1(x))))`."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        c_fc=fc1, gelu=canonical_activation(activation)
    )
    return _completed(parts, norm, fc2)


def gated_mlp(fc1: nn.Linear, gate: Gate, norm: nn.Module, fc2: nn.Linear) -> nn.Module:
    """Returns `fc2(norm(gate(fc1(x))))`."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(c_fc=fc1, gate=gate)
    return _completed(parts, norm, fc2)


def _completed(
    parts: OrderedDict[str, nn.Module], norm: nn.Module, fc2: nn.Linear
) -> nn.Sequential:
    if not isinstance(norm, nn.Identity):
        parts["ln"] = canonical_norm(norm)
    parts["c_proj"] = fc2
    return nn.Sequential(parts)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Returns a linear layer of given weights (O, I) and bias (O,)."""
    layer: Any = nn.Linear(1, 1, bias=bias is not None)
    layer.in_features, layer.out_features = weight.shape[1], weight.shape[0]
    layer.weight = nn.Parameter(weight.detach())
    layer.bias = None if bias is None else nn.Parameter(bias.detach())
    return layer


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Returns a convolution followed by a batch norm in eval mode as one convolution with a bias.

    A frozen backbone must not change its statistics in training, and they are not stored apart.
    """
    assert norm.running_mean is not None, "the statistics are part of the weights"
    assert norm.running_var is not None
    factor = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
    old: Tensor = torch.zeros_like(norm.bias) if conv.bias is None else conv.bias.detach()
    conv.weight = nn.Parameter(conv.weight.detach() * factor[:, None, None, None])
    conv.bias = nn.Parameter(norm.bias.detach() + (old - norm.running_mean) * factor)
    return conv


def multiply(x: Tensor, matrix: Tensor | None, bias: Tensor | None) -> Tensor:
    """Returns x (N, W) times a matrix (W, D), plus a bias (D,); without a matrix, x."""
    if matrix is None:
        return x
    y = x @ matrix
    return y if bias is None else y + bias.to(y.dtype)
