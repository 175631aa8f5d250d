"""LoRA: low-rank updates of frozen weights (Hu et al., ICLR 2022, arXiv 2106.09685, section 4).

For a frozen matrix W (O, I), a layer computes::

    y = W x + (alpha / r) * B A dropout(x),   A (r, I), B (O, r)

B starts at zero, so an untrained update changes nothing. A is drawn as in the paper's code, loralib. For predictions,
`merge` adds the product into W, so that LoRA takes neither time nor memory then.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peclip.nn.clip_block import ClipBlock

Encoder = TypeVar("Encoder", bound=nn.Module)

_HOMES = {
    "q": ("attn.in_proj_weight", 0),
    "k": ("attn.in_proj_weight", 1),
    "v": ("attn.in_proj_weight", 2),
    "out": ("attn.out_proj.weight", 0),
    "fc1": ("mlp.c_fc.weight", 0),
    "fc2": ("mlp.c_proj.weight", 0),
}
"""By matrix: the parameter of a CLIP block that holds it, and its place among the matrices of that parameter."""


class LowRank(nn.Module):
    """The update `(alpha / rank) * B A dropout(x)` of one matrix.

    Args:
        inputs: I.
        outputs: O.
        rank: r.
        alpha: scale, in units of 1 / r.
        dropout: probability that an input is dropped in training.
    """

    def __init__(
        self, inputs: int, outputs: int, rank: int, alpha: float, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.scale, self.dropout = alpha / rank, dropout
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, I) to (…, O)."""
        x = F.dropout(x, self.dropout, self.training)
        return F.linear(self.scale * F.linear(x, self.down), self.up)

    def matrix(self) -> Tensor:
        """Returns what `merge` adds to W, (O, I)."""
        return self.scale * (self.up @ self.down)


class LoraBlock(ClipBlock):
    """A CLIP block with updates of some of its six matrices.

    Args:
        block: whose modules are taken over.
        matrices: some of `q`, `k`, `v`, `out`, `fc1` and `fc2`.
        rank: of each update.
        alpha: see `LowRank`.
        dropout: see `LowRank`; drawn for each update.
    """

    def __init__(
        self,
        block: ClipBlock,
        matrices: Iterable[str],
        rank: int,
        alpha: float,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(block.block)
        parts: Any = block.block
        width = parts.attn.embed_dim
        # A gate halves what fc1 computes.
        sizes = {
            "fc1": (width, parts.mlp.c_fc.out_features),
            "fc2": (parts.mlp.c_proj.in_features, width),
        }
        self.lora = nn.ModuleDict(
            {
                name: LowRank(*sizes.get(name, (width, width)), rank, alpha, dropout)
                for name in matrices
            }
        )

    def project(self, x: Tensor, rows: slice) -> Tensor:
        """As `ClipBlock.project`."""
        width = x.shape[-1]
        names = "qkv"[(rows.start or 0) // width : (rows.stop or 3 * width) // width]
        parts = super().project(x, rows).chunk(len(names), dim=-1)
        updated = [self._update(name, x, part) for name, part in zip(names, parts, strict=True)]
        return torch.cat(updated, dim=-1)

    def join(self, mixed: Tensor) -> Tensor:
        """As `ClipBlock.join`."""
        return self._update("out", mixed, super().join(mixed))

    def feed_forward(self, x: Tensor) -> Tensor:
        """As `ClipBlock.feed_forward`."""
        block: Any = self.block
        hidden = self._update("fc1", x, block.mlp.c_fc(x))
        for layer in list(block.mlp)[1:-1]:  # the activation; in some backbones a gate, and a norm
            hidden = layer(hidden)
        return self._update("fc2", hidden, block.mlp.c_proj(hidden))

    def _update(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """Adds the update of a matrix to its product with x, if it has one."""
        return y + self.lora[name](x) if name in self.lora else y

    def changed_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters of the CLIP block that have updates."""
        homes = dict.fromkeys(_HOMES[name][0] for name in self.lora)
        return [self.block.get_parameter(home) for home in homes]

    @torch.no_grad()
    def merged(self) -> ClipBlock:
        """Returns a plain block that computes the same; the updates are added to the weights in place."""
        for name, update in self.lora.items():
            assert isinstance(update, LowRank), "nothing else is added"
            home, place = _HOMES[name]
            outputs = len(update.up)
            rows = slice(place * outputs, (place + 1) * outputs)
            self.block.get_parameter(home)[rows] += update.matrix()
        return ClipBlock(self.block)


def merge(encoder: Encoder) -> Encoder:
    """Returns a copy of an encoder with all updates added to the weights, or itself if there are none.

    Weights without an update are shared. The encoder is unchanged, and its copy is not for training.
    """
    blocks = [module for module in encoder.modules() if isinstance(module, LoraBlock)]
    if not blocks:
        return encoder
    copied: dict[int, object] = {id(t): t for t in (*encoder.parameters(), *encoder.buffers())}
    for weight in (weight for block in blocks for weight in block.changed_parameters()):
        copied[id(weight)] = nn.Parameter(weight.detach().clone(), requires_grad=False)
    merged = copy.deepcopy(encoder, copied)
    for module in list(merged.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraBlock):
                setattr(module, name, child.merged())
    return merged
