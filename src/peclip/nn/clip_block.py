"""A block of CLIP's encoders, and the layout of its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PART_BYTES = 20 * 2**20
"""Of the hidden values of an MLP on a CPU, where no gradient is wanted: glibc gives larger blocks back to the system
after every layer, and their pages cost more than the activation."""


class Layout(NamedTuple):
    """The layout of a tower's tokens, (N, L, W). A block uses only the fields it needs."""

    num_frames: int = 1
    """T: consecutive rows are the frames of a video."""
    groups: tuple[int, ...] = ()
    """Number of rows per group, in order, for models that adapt groups differently."""
    mask: Tensor | None = None
    """Additive attention mask, (L, L)."""
    wanted: int | None = None
    """Number of leading tokens that a block must output; `None` means all. After the last block of the vision
    tower only the class token is used."""


class QuickGELU(nn.Module):
    """`x * sigmoid(1.702 x)`, CLIP's activation, in one buffer if no gradient is needed."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps a tensor to one of the same shape."""
        gate = 1.702 * x
        if gate.requires_grad:
            return x * gate.sigmoid()
        return gate.sigmoid_().mul_(x)


class ClipBlock(nn.Module):
    """A uniform view of an open_clip block: its two branches, with the residual left to the caller.

    Towers call a block as `block(x, layout)` and get the tokens requested by the layout; a model may replace
    it with any module of that interface. Unmodified, this is the plain CLIP block.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def attention(self, x: Tensor, layout: Layout) -> Tensor:
        """Attention branch `MSA(LN x)`, (N, L, W) to (N, Q, W): the output tokens attend to all.

        The weights are those of open_clip's `nn.MultiheadAttention`, which itself computes on a
        transposed view: in bf16 on a CPU this copies its matrices for every row of the batch.
        """
        block: Any = self.block
        weights = block.attn
        x, width = block.ln_1(x), x.shape[-1]
        if layout.wanted is None:
            q, k, v = self.project(x, slice(None)).chunk(3, dim=-1)
        else:
            q = self.project(x[:, : layout.wanted], slice(width))
            k, v = self.project(x, slice(width, None)).chunk(2, dim=-1)
        heads = weights.num_heads
        q, k, v = (part.view(*part.shape[:2], heads, -1).transpose(1, 2) for part in (q, k, v))
        if (turn := getattr(weights, "turn", None)) is not None:  # rotary positions
            q, k = turn(q), turn(k)
        mask = None if layout.mask is None else layout.mask[: layout.wanted].to(q.dtype)
        mixed = self.mix(q, k, v, mask).transpose(1, 2).flatten(2)
        if (inner := getattr(weights, "inner", None)) is not None:  # a norm
            mixed = inner(mixed)
        attended: Tensor = block.ls_1(self.join(mixed))
        return attended

    def project(self, x: Tensor, rows: slice) -> Tensor:
        """Maps (N, L, W) to queries, keys and values, (N, L, 3W), or to some rows of that matrix."""
        weights: Any = self.block.attn
        return F.linear(x, weights.in_proj_weight[rows], weights.in_proj_bias[rows])

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attends with queries (N, H, Q, D) to keys and values (N, H, L, D); returns (N, H, Q, D)."""
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    def join(self, mixed: Tensor) -> Tensor:
        """Maps what the heads computed, (N, Q, W), to the output of the attention, (N, Q, W)."""
        block: Any = self.block
        joined: Tensor = block.attn.out_proj(mixed)
        return joined

    def feed_forward(self, x: Tensor) -> Tensor:
        """Maps (N, L, W) through the two layers of the MLP, to (N, L, W)."""
        block: Any = self.block
        mixed: Tensor = block.mlp(x)
        return mixed

    def mlp(self, x: Tensor, beside: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """MLP branch `MLP(LN x)`, (N, L, W) to (N, L, W); the output of a parallel branch is added."""
        block: Any = self.block
        normed = block.ln_2(x)
        mixed: Tensor = block.ls_2(_in_parts(self.feed_forward, normed, block.mlp[0].out_features))
        return mixed if beside is None else mixed + beside(normed)

    def forward(self, x: Tensor, layout: Layout = Layout()) -> Tensor:  # noqa: B008 (a constant)
        """Maps (N, L, W) to (N, Q, W), Q being the output tokens of L."""
        x = x[:, : layout.wanted] + self.attention(x, layout)
        return x + self.mlp(x)


def _in_parts(layer: Callable[[Tensor], Tensor], x: Tensor, hidden: int) -> Tensor:
    """Calls a layer on chunks of rows of (N, L, W), sized by its hidden values per token."""
    rows = max(1, _PART_BYTES // (x.shape[1] * hidden * x.element_size()))
    if x.device.type != "cpu" or torch.is_grad_enabled() or rows >= x.shape[0]:
        return layer(x)
    return torch.cat([layer(part) for part in torch.split(x, rows)])
