"""Attention weights with their gradient, and what they say of the patches of a frame.

The towers compute attention with a fused kernel that keeps no weights. For an explanation, the blocks of a copy are
replaced; the copy computes the same features, and shares all parameters.

Chefer, Gur, Wolf: "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers",
ICCV 2021, arXiv 2103.15679, equations 5 and 6. `rollout` differs in three ways: it knows that prompts are replaced
between layers, the last layer has one query, and all weights are divided by one number (see there).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from peclip.nn.clip_block import ClipBlock

Encoder = TypeVar("Encoder", bound=nn.Module)


class RecordingBlock(ClipBlock):
    """A CLIP block that keeps the attention weights of its last call, as part of the graph of the gradient."""

    def __init__(self, block: ClipBlock) -> None:
        super().__init__(block.block)
        self.weights: Tensor | None = None
        """(N, H, Q, L): for each head and query, over the keys; rows sum to one."""

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """As `ClipBlock.mix`, in separate steps."""
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        self.weights = (scores if mask is None else scores + mask).softmax(-1)
        return self.weights @ v


def record_attention(encoder: Encoder) -> tuple[Encoder, list[RecordingBlock]]:
    """Returns a copy of an encoder that records attention, and its blocks in order; parameters are shared."""
    tensors = (*encoder.parameters(), *encoder.buffers())
    copied = copy.deepcopy(encoder, {id(tensor): tensor for tensor in tensors})
    blocks = []
    for module in list(copied.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ClipBlock):
                blocks.append(RecordingBlock(child))
                setattr(module, name, blocks[-1])
    return copied, blocks


def rollout(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], num_prompts: int, prompt_depth: int
) -> Tensor:
    """Returns how much each token of a frame's input contributes to its class token at the output.

    With A the weights of a layer, G the gradient of the explained number with respect to A, and the mean over heads::

        M = mean_h(relu(G * A)) / m,    R <- R + M R,   R = I before the first layer

    and the result is the class token's row of R without its own column. m, the largest sum of a row of M in all layers
    and frames, makes the result independent of the scale of the explained number, on which the balance of direct and
    indirect paths would otherwise depend. Adapters map each token by itself, and G passes through them. Before each
    layer with its own prompt, the rows of the prompt tokens in R start anew, since a new prompt has seen no patch.

    Args:
        weights: (N, H, Q, L) per layer; Q is 1 in the last one, for the class token.
        gradients: of the same shapes.
        num_prompts: P, the last tokens of L.
        prompt_depth: layers that have their own prompt.

    Returns:
        (N, L - 1 - P), not negative: the patches.
    """
    mixed = [(a * g).clamp(min=0).mean(1) for a, g in zip(weights, gradients, strict=True)]
    largest = max(float(m.sum(-1).amax()) for m in mixed)
    frames, length = mixed[0].shape[0], mixed[0].shape[-1]
    start = torch.eye(length, device=mixed[0].device)
    relevance = start.expand(frames, -1, -1)
    for depth, m in enumerate(mixed):
        if 0 < depth < prompt_depth and num_prompts:
            prompts = start[-num_prompts:].expand(frames, -1, -1)
            relevance = torch.cat([relevance[:, :-num_prompts], prompts], dim=1)
        scaled = m / largest if largest > 0 else m
        relevance = relevance[:, : m.shape[1]] + scaled @ relevance
    return relevance[:, 0, 1 : length - num_prompts]
