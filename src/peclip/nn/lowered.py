"""Vision towers for prediction on CUDA in bf16 or fp16, with their weights in that type.

autocast would convert all weights at every call, compute norms in fp32 and run QuickGELU as three passes over the
largest activations. Here the weights are converted once, norms read and write the lower type (with sums in fp32), and
QuickGELU is one pass.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from peclip.nn.adapters import TokenGRU
from peclip.nn.towers import ClipBlock, QuickGELU, VisionTower


def can_lower(device: torch.device, dtype: torch.dtype) -> bool:
    """Returns whether a lowered tower is supported on a device and faster there."""
    return device.type == "cuda" and dtype != torch.float32


def lower(encoder: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Returns an untrainable copy of a vision tower with weights of another type; another encoder as it is."""
    return LoweredTower(encoder, dtype) if isinstance(encoder, VisionTower) else encoder


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
        if isinstance(self.patch_embedding, nn.Conv2d):  # a stem standardises in fp32 first
            self.patch_embedding = LoweredPatches(self.patch_embedding)
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
        self.conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, O, H/P, W/P) in the type of the weights, for patches of P pixels."""
        y: Tensor = self.conv(x.to(self.conv.weight.dtype))
        return y


@torch.no_grad()
def _with_silu(mlp: Any) -> nn.Module:
    """Turns `c_proj(QuickGELU(c_fc(x)))` into products around SiLU, which is one kernel.

    QuickGELU, `x * sigmoid(1.702 x)`, is `silu(1.702 x) / 1.702`: both factors go into the weights.
    """
    if not isinstance(mlp.gelu, QuickGELU):
        return nn.Sequential(mlp.c_fc, mlp.gelu, mlp.c_proj)
    mlp.c_fc.weight *= 1.702
    mlp.c_fc.bias *= 1.702
    mlp.c_proj.weight /= 1.702
    return nn.Sequential(mlp.c_fc, nn.SiLU(inplace=True), mlp.c_proj)
