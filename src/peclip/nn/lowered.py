"""Towers on CUDA in bf16 or fp16, with their frozen weights in that type.

For prediction, autocast would convert all weights at every call, compute norms in fp32 and run QuickGELU as three passes over the
largest activations. Here the weights are converted once, norms read and write the lower type (with sums in fp32), and
QuickGELU is one pass. For training, only the matrices that autocast would convert are lowered, and nothing else changes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from peclip.nn.adapters import TokenGRU
from peclip.nn.canonical_block import Attention
from peclip.nn.clip_block import ClipBlock, QuickGELU
from peclip.nn.stem import stems_of
from peclip.nn.towers import TextTower, VisionTower

Network = TypeVar("Network", bound=nn.Module)

_MATRICES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("weight", "bias"),
    nn.modules.linear.NonDynamicallyQuantizableLinear: ("weight", "bias"),
    nn.Conv2d: ("weight", "bias"),
    nn.MultiheadAttention: ("in_proj_weight", "in_proj_bias"),
    Attention: ("in_proj_weight", "in_proj_bias"),
    VisionTower: ("projection", "projection_bias"),
    TextTower: ("projection", "projection_bias"),
}
"""Parameters of modules that autocast converts: factors of products, and what is added to these."""


def can_lower(device: torch.device, dtype: torch.dtype) -> bool:
    """Returns whether a lowered tower is supported on a device and faster there."""
    return device.type == "cuda" and dtype != torch.float32


def lower(encoder: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Returns an untrainable copy of a vision tower with weights of another type; another encoder as it is."""
    return LoweredTower(encoder, dtype) if isinstance(encoder, VisionTower) else encoder


def lower_frozen(model: Network, dtype: torch.dtype) -> Network:
    """Returns a copy of a model for training under autocast, whose frozen matrices autocast need not convert.

    It computes exactly what the model does. All other parameters and buffers are shared, and the model is unchanged.
    """
    towers = [part for part in model.modules() if isinstance(part, VisionTower | TextTower)]
    stems = {part for stem in stems_of(model) for part in stem.modules()}  # partly in fp32
    copied: dict[int, object] = {
        id(tower.tokenizer): tower.tokenizer for tower in towers if isinstance(tower, TextTower)
    }
    for module in (part for tower in towers for part in tower.modules() if part not in stems):
        for name in _MATRICES.get(type(module), ()):
            parameter = getattr(module, name)
            if parameter is not None and not parameter.requires_grad:
                lowered = nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
                copied[id(parameter)] = lowered
    for tensor in (*model.parameters(), *model.buffers()):
        copied.setdefault(id(tensor), tensor)
    return copy.deepcopy(model, copied)


class LoweredTower(VisionTower):
    """A `VisionTower` that cannot be trained, and whose output is fp32.

    GRUs are shared with the tower and stay in fp32, for which cuDNN has kernels in every version.

    Args:
        tower: with fp32 weights; it is not changed.
        dtype: of the other weights and of the activations.
    """

    def __init__(self, tower: VisionTower, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        copied: dict[int, object] = {
            id(module): module for module in tower.modules() if isinstance(module, TokenGRU)
        }
        for parameter in tower.parameters():
            values = parameter.detach().to(dtype, copy=True)
            copied[id(parameter)] = nn.Parameter(values, requires_grad=False)
        self.__dict__.update(vars(copy.deepcopy(tower, copied)))
        patches = self.patch_embedding
        if isinstance(patches, nn.Conv2d):  # a stem standardises in fp32 first
            self.patch_embedding = LoweredPatches(patches)
        elif isinstance(patches, nn.Sequential) and isinstance(patches[0], nn.Conv2d):
            patches[0] = LoweredPatches(patches[0])
        for module in self.modules():
            if isinstance(module, ClipBlock):
                block: Any = module.block
                block.mlp = _with_silu(block.mlp)

    def forward(
        self, frames: Tensor, prompts: Sequence[Tensor] = (), groups: Sequence[int] = ()
    ) -> Tensor:
        """As `VisionTower.forward`."""
        with torch.autocast(frames.device.type, enabled=False):
            return super().forward(frames, prompts, groups).float()


class LoweredPatches(nn.Module):
    """A patch projection that takes pixels of any type; its weights are laid out as the crops come to CUDA."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, O, H/P, W/P) in the type of the weights, for patches of P pixels."""
        y: Tensor = self.conv(x.to(self.conv.weight.dtype))
        return y


@torch.no_grad()
def _with_silu(mlp: Any) -> nn.Module:
    """Turns `c_proj(QuickGELU(c_fc(x)))` into products around SiLU, which is one kernel.

    QuickGELU, `x * sigmoid(1.702 x)`, is `silu(1.702 x) / 1.702`: both factors go into the weights.
    """
    parts = dict(mlp.named_children())
    if parts.keys() != {"c_fc", "gelu", "c_proj"} or not isinstance(mlp.gelu, QuickGELU):
        return nn.Sequential(*parts.values())
    mlp.c_fc.weight *= 1.702
    mlp.c_fc.bias *= 1.702
    mlp.c_proj.weight /= 1.702
    return nn.Sequential(mlp.c_fc, nn.SiLU(inplace=True), mlp.c_proj)
