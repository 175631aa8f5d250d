"""Encoders for prediction on a CPU: the stem and the linear layers are packed.

torch's linear layer passes row-major weights on, which are repacked for the processor's units at every call, copies the
bias into the result first, and runs the activation as separate passes. The operator that `torch.compile` uses instead
avoids all of that; it is called directly here, with weights packed once, so that nothing is compiled and the first
window is fast too. benchmarks/window.py measures it.
"""

from __future__ import annotations

import copy
from functools import singledispatch
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peclip.nn.adapters import Adapter, TokenGRU
from peclip.nn.clip_block import ClipBlock, QuickGELU
from peclip.nn.packed_stem import PackedStem, can_pack_stem
from peclip.nn.stem import stems_of

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

_EXPECTED_ROWS = 3200
"""Of the inputs: about 16 frames of ViT-B/16. Any number is computed rightly, and a number of this order fast; without
one, oneDNN lays a matrix out for few rows, and some products take twice as long."""


def can_pack(device: torch.device, precision: str) -> bool:
    """Returns whether packed linear layers support a precision on a device and are faster there."""
    available: Any = torch.backends.mkldnn.is_available  # without types
    if device.type != "cpu" or precision not in _DTYPES or not available():
        return False
    operators = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
    if not all(hasattr(torch.ops.mkldnn, name) for name in operators):
        return False
    if precision == "fp32":
        # Elsewhere the speed is unknown, and the weights would be in memory twice.
        return bool(torch.backends.cpu.get_cpu_capability() == "AVX512")
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(encoder: nn.Module, device: torch.device, precision: str) -> nn.Module:
    """Returns an untrainable copy of an encoder with packed modules, or itself if there are none to pack.

    Modules that are not packed are shared.
    """
    linear = can_pack(device, precision)
    stems = stems_of(encoder) if can_pack_stem(device) and (linear or precision == "fp32") else []
    if not linear and not stems:
        return encoder
    dtype = _DTYPES[precision]
    copied: dict[int, object] = {id(stem): PackedStem(stem, dtype) for stem in stems}
    for tensor in (*encoder.parameters(), *encoder.buffers()):
        copied[id(tensor)] = tensor  # shared
    packed = copy.deepcopy(encoder, copied)
    return _packed(packed, {}, dtype) if linear else packed


class PackedLinear(nn.Module):
    """`activation(x @ weight.T + bias)` in one call.

    Args:
        weight: (O, W).
        bias: (O,)
        dtype: of the weights and of the output.
        activation: oneDNN's name: `none`, `gelu` or `swish`, which is `x * sigmoid(x)`.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, activation: str = "none"
    ) -> None:
        super().__init__()
        self.out_features = len(weight)
        self._dtype, self._activation = dtype, activation
        with torch.no_grad():
            rows = weight.detach().to(dtype).contiguous()
            self._weight = torch.ops.mkldnn._reorder_linear_weight(rows, _EXPECTED_ROWS)
            self._bias = None if bias is None else bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, W) to (…, O)."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(self._dtype), self._weight, self._bias, self._activation, [], "none"
        )
        return y

    def add_to(self, other: Tensor, x: Tensor) -> Tensor:
        """Returns `other + x @ weight.T + bias`, without the layer's activation."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x.to(self._dtype), other.to(self._dtype), self._weight, self._bias, "add"
        )
        return y


class PackedAdapter(nn.Module):
    """An `Adapter` with the residual sum fused into its second product."""

    def __init__(self, adapter: Adapter, dtype: torch.dtype) -> None:
        super().__init__()
        self.down = PackedLinear(adapter.down.weight, adapter.down.bias, dtype)
        self.up = PackedLinear(adapter.up.weight, adapter.up.bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, W) to (…, W)."""
        return self.up.add_to(x, F.gelu(self.down(x)))


class PackedGRU(nn.Module):
    """A `TokenGRU` with the input projections of all gates in one product, and its small steps in fp32."""

    def __init__(self, gru: TokenGRU, dtype: torch.dtype) -> None:
        super().__init__()
        weights: dict[str, Tensor] = {name: p.detach() for name, p in gru.named_parameters()}
        self._input = PackedLinear(weights["weight_ih_l0"], weights["bias_ih_l0"], dtype)
        self._weight, self._bias = weights["weight_hh_l0"].t(), weights["bias_hh_l0"]

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, T, L, W) to (B, T, L, W), fp32; the equations are those of `torch.nn.GRU`."""
        B, T, L, W = x.shape
        gates = self._input(x).float().transpose(0, 1).reshape(T, B * L, 3 * W)
        h, states = gates.new_zeros(B * L, W), gates.new_empty(T, B * L, W)
        with torch.autocast(x.device.type, enabled=False):
            for now, then in zip(gates, states, strict=True):
                old = torch.addmm(self._bias, h, self._weight)
                r, z = (now[:, : 2 * W] + old[:, : 2 * W]).sigmoid_().chunk(2, dim=-1)
                new = torch.addcmul(now[:, 2 * W :], r, old[:, 2 * W :]).tanh_()
                h = torch.lerp(new, h, z, out=then)
        return states.view(T, B, L, W).transpose(0, 1)


class PackedPatches(nn.Module):
    """A convolution with non-overlapping patches, as one product."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self._size = int(conv.stride[0])
        self._linear = PackedLinear(conv.weight.flatten(1), conv.bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, O, H/P, W/P) for patches of P pixels."""
        P = self._size
        N, C, H, W = x.shape
        patches = x.view(N, C, H // P, P, W // P, P)
        rows = patches.permute(0, 2, 4, 1, 3, 5).flatten(3)
        return self._linear(rows).permute(0, 3, 1, 2)


class PackedBlock(ClipBlock):
    """A CLIP block whose projections to queries, keys and values are packed."""

    def __init__(self, block: ClipBlock, dtype: torch.dtype) -> None:
        super().__init__(block.block)
        self._dtype = dtype
        self._projections: dict[tuple[int | None, int | None], PackedLinear] = {}

    def project(self, x: Tensor, rows: slice) -> Tensor:
        """As `ClipBlock.project`, with the row slices cached."""
        key = (rows.start, rows.stop)
        if key not in self._projections:
            weights: Any = self.block.attn
            self._projections[key] = PackedLinear(
                weights.in_proj_weight[rows], weights.in_proj_bias[rows], self._dtype
            )
        return self._projections[key](x)


Memo = dict[nn.Module, nn.Module]
"""Module → its packed form, so that a shared module is packed once."""


@singledispatch
def _packed(module: nn.Module, memo: Memo, dtype: torch.dtype) -> nn.Module:
    for name, child in list(module._modules.items()):  # named_children omits duplicates
        if child is not None:
            memo[child] = memo[child] if child in memo else _packed(child, memo, dtype)
            setattr(module, name, memo[child])
    return module


@_packed.register
def _(module: nn.Linear, memo: Memo, dtype: torch.dtype) -> nn.Module:
    return PackedLinear(module.weight, module.bias, dtype)


@_packed.register
def _(module: Adapter, memo: Memo, dtype: torch.dtype) -> nn.Module:
    return PackedAdapter(module, dtype)


@_packed.register
def _(module: TokenGRU, memo: Memo, dtype: torch.dtype) -> nn.Module:
    return PackedGRU(module, dtype)


@_packed.register
def _(module: nn.Conv2d, memo: Memo, dtype: torch.dtype) -> nn.Module:
    apart = module.stride == module.kernel_size and module.padding == (0, 0) and module.groups == 1
    return PackedPatches(module, dtype) if apart else module


@_packed.register
def _(module: ClipBlock, memo: Memo, dtype: torch.dtype) -> nn.Module:
    block: Any = module.block
    block.mlp = _packed_mlp(block.mlp, memo, dtype)
    block.attn.out_proj = _packed(block.attn.out_proj, memo, dtype)
    return PackedBlock(module, dtype)


def _packed_mlp(mlp: Any, memo: Memo, dtype: torch.dtype) -> nn.Module:
    """Packs `c_proj(gelu(c_fc(x)))`, the activation into the first of the two products.

    QuickGELU, `x * sigmoid(1.702 x)`, is `swish(1.702 x) / 1.702`: both factors go into the weights. Around another
    activation, a gate or a norm, the products are packed alone.
    """
    parts = dict(mlp.named_children())
    quick = isinstance(parts.get("gelu"), QuickGELU)
    exact = isinstance(parts.get("gelu"), nn.GELU) and mlp.gelu.approximate == "none"
    if parts.keys() != {"c_fc", "gelu", "c_proj"} or not (quick or exact):
        return _packed(mlp, memo, dtype)
    factor, activation = (1.702, "swish") if quick else (1.0, "gelu")
    first, second = mlp.c_fc, mlp.c_proj
    return nn.Sequential(
        PackedLinear(factor * first.weight, factor * first.bias, dtype, activation),
        PackedLinear(second.weight / factor, second.bias, dtype),
    )
