"""The adapters of both papers.

PE-CLIP: Saadi et al., 2025, arXiv 2503.16945, section 3.2 and Figure 2. FineCLIPER: Chen et al., 2024,
arXiv 2407.02157, Figure 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peclip.nn.gru import gru


class Bottleneck(nn.Module):
    """`up(gelu(down(x)))`, without a residual.

    With `zero_init` it is zero before training, so that an adapted tower equals plain CLIP.
    """

    def __init__(self, width: int, bottleneck: int, *, zero_init: bool = True) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        if zero_init:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, W) to (…, W)."""
        y: Tensor = self.up(F.gelu(self.down(x)))
        return y


class Adapter(Bottleneck):
    """A bottleneck with an inner residual: `x + up(gelu(down(x)))` (ShA and TA of PE-CLIP).

    With `zero_init` the module is the identity before training. The authors' release of PE-CLIP keeps
    PyTorch's default initialisation here.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, W) to (…, W)."""
        return x + super().forward(x)


class GroupedAdapters(nn.Module):
    """Several adapters side by side, each for the rows of its group.

    The frozen layers around them process all rows at once, so that the streams of a tower share its matrix
    products and weights.
    """

    def __init__(self, adapters: Iterable[nn.Module]) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(adapters)

    def forward(self, x: Tensor, groups: Sequence[int]) -> Tensor:
        """Maps (N, …, W) to the same shape; `groups` has one size per adapter, and they sum to N."""
        if len(self.adapters) == 1:
            whole: Tensor = self.adapters[0](x)
            return whole
        parts = zip(self.adapters, torch.split(x, list(groups)), strict=True)
        return torch.cat([adapter(part) for adapter, part in parts if len(part)])


class TokenGRU(nn.GRU):
    """A GRU over the frames of a video, applied to each token position."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Maps (B, T, L, W) to the same shape and type: one sequence per video and token."""
        B, T, L, W = x.shape
        rows = x.transpose(1, 2).reshape(B * L, T, W)
        weights: Any = self  # whose parameters nn.GRU does not declare
        # autocast would compute in fp16 whatever the precision, and lay out cuDNN's weights anew at every call.
        with torch.autocast(x.device.type, enabled=False):
            rows = rows.to(weights.weight_ih_l0.dtype)
            if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
                input_and_state = weights.weight_ih_l0, weights.weight_hh_l0
                states = gru(rows, *input_and_state, weights.bias_ih_l0, weights.bias_hh_l0)
            else:
                states, _ = super().forward(rows)
        return states.to(x.dtype).view(B, L, T, W).transpose(1, 2)


class TemporalDynamicAdapter(nn.Module):
    """A bottleneck with a GRU over time for each token (TDA of PE-CLIP).

    For a token `x_t` of frame `t`::

        n_t = norm(x_t),   h_t = GRU(down(n))_t,   y_t = x_t + relu(scale(n_t)) * up(gelu(h_t))

    `up` starts at zero, so the module is the identity before training. The GRU reads one sequence per
    video and token, never across videos. The authors' release runs it over the whole batch.
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.scale = nn.Linear(width, 1)
        self.down = nn.Linear(width, bottleneck)
        self.gru = TokenGRU(bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.kaiming_uniform_(self.scale.weight, a=math.sqrt(5))
        for parameter in (self.down.bias, self.scale.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Maps (B*T, L, W) with T = `num_frames` to the same shape."""
        normed = self.norm(x)
        states = self.gru(self.down(normed).unflatten(0, (-1, num_frames)))
        h = F.gelu(states.flatten(0, 1))
        return torch.addcmul(x, F.relu(self.scale(normed)), self.up(h))
