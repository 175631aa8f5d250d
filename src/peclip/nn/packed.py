"""Linear layers for prediction on a CPU in bf16, their weights laid out once.

torch's own linear layer gives oneDNN the weights in rows, which are laid out anew for the processor's bf16 units at
every call, copies the bias into the result first, and leaves the activation to passes of its own. The operator that
`torch.compile` puts in its place does none of that; it is called here as it is, so that nothing is compiled and the
first window comes at once. benchmarks/window.py measures it.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from peclip.nn.towers import ClipBlock, QuickGELU

_EXPECTED_ROWS = 3200
"""Of the inputs: about 16 frames of ViT-B/16. Any number is computed rightly, and a number of this order fast; without
one, oneDNN lays a matrix out for few rows, and some products take twice as long."""


def can_pack(device: torch.device, precision: str) -> bool:
    """Says whether packed layers compute with a precision on a device, and pay there."""
    available: Any = torch.backends.mkldnn.is_available  # without types
    if device.type != "cpu" or precision != "bf16" or not available():
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(encoder: nn.Module) -> nn.Module:
    """Returns a copy of an encoder that predicts in bf16 and cannot be trained; what is not packed is shared."""
    shared = (*encoder.parameters(), *encoder.buffers())
    return _packed(copy.deepcopy(encoder, {id(tensor): tensor for tensor in shared}))


class PackedLinear(nn.Module):
    """`activation(x @ weight.T + bias)` in bf16, in one call.

    Args:
        weight: (O, W).
        bias: (O,)
        activation: as oneDNN calls it: `none`, `gelu` or `swish`, which is `x * sigmoid(x)`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str = "none") -> None:
        super().__init__()
        self.out_features = len(weight)
        self._activation = activation
        with torch.no_grad():
            rows = weight.bfloat16().contiguous()
            self._weight = torch.ops.mkldnn._reorder_linear_weight(rows, _EXPECTED_ROWS)
            self._bias = None if bias is None else bias.bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, W) to (…, O), bf16."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.bfloat16(), self._weight, self._bias, self._activation, [], "none"
        )
        return y


class InFullPrecision(nn.Module):
    """A module that computes in fp32 within autocast: the many small steps of a GRU are faster so."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        """Calls the module."""
        with torch.autocast(x.device.type, enabled=False):
            return self.module(x.float())


class PackedBlock(ClipBlock):
    """A CLIP block whose projections to queries, keys and values are packed."""

    def __init__(self, block: ClipBlock) -> None:
        super().__init__(block.block)
        self._projections: dict[tuple[int | None, int | None], PackedLinear] = {}

    def project(self, x: Tensor, rows: slice) -> Tensor:
        """As `ClipBlock.project`; every block is asked for the same rows again and again."""
        key = (rows.start, rows.stop)
        if key not in self._projections:
            weights: Any = self.block.attn
            self._projections[key] = PackedLinear(
                weights.in_proj_weight[rows], weights.in_proj_bias[rows]
            )
        return self._projections[key](x)


def _packed(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.Linear):
        return PackedLinear(module.weight, module.bias)
    if isinstance(module, nn.GRU):
        return InFullPrecision(module)
    if isinstance(module, nn.Sequential) and hasattr(module, "c_fc"):
        return _packed_mlp(module)
    for name, child in list(module.named_children()):
        setattr(module, name, _packed(child))
    return PackedBlock(module) if type(module) is ClipBlock else module


def _packed_mlp(mlp: Any) -> nn.Module:
    """Packs `c_proj(gelu(c_fc(x)))`, the activation into the first of the two products.

    QuickGELU, `x * sigmoid(1.702 x)`, is `swish(1.702 x) / 1.702`: both factors go into the weights.
    """
    quick = isinstance(mlp.gelu, QuickGELU)
    factor = 1.702 if quick else 1.0
    first, second = mlp.c_fc, mlp.c_proj
    return nn.Sequential(
        PackedLinear(factor * first.weight, factor * first.bias, "swish" if quick else "gelu"),
        PackedLinear(second.weight / factor, second.bias),
    )
