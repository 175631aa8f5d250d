"""Learned prompts, coupled between text and vision (MaPLe, Khattak et al., CVPR 2023, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CoupledPrompts(nn.Module):
    """Text prompts of several layers, each with a linear map to the vision prompt of the layer.

    Prompt 0 is part of the input sequence; prompt `i` replaces it before layer `i`. Both towers thus
    receive `depth` prompts of `length` tokens. Initialised from N(0, 0.02) as in the PE-CLIP release.

    Args:
        text_width: width of the text tower.
        vision_width: width of the vision tower.
        length: tokens per prompt.
        depth: number of layers that receive a separate prompt, including the input.
        half: round the prompts that enter the towers to fp16 (all but the text prompt of the input),
            as the release does; a checkpoint trained there needs it to give the same logits.
    """

    def __init__(
        self, text_width: int, vision_width: int, length: int, depth: int, *, half: bool = False
    ) -> None:
        super().__init__()
        self.length = length
        self.half_precision = half
        self.text = nn.ParameterList(
            nn.Parameter(torch.empty(length, text_width).normal_(std=0.02)) for _ in range(depth)
        )
        self.to_vision = nn.ModuleList(nn.Linear(text_width, vision_width) for _ in range(depth))

    def forward(self) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the text prompts, each (P, W_text), and the vision prompts, each (P, W_vision)."""
        text = list(self.text)
        vision = [
            project(prompt) for project, prompt in zip(self.to_vision, self.text, strict=True)
        ]
        if self.half_precision:
            text[1:] = [_round_to_half(prompt) for prompt in text[1:]]
            vision = [_round_to_half(prompt) for prompt in vision]
        return text, vision


class ComputedPrompts(nn.Module):
    """Precomputed output of `CoupledPrompts`, whose weights must not change, in some type."""

    def __init__(self, prompts: CoupledPrompts, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.length = prompts.length
        with torch.no_grad():
            text, vision = prompts()
        self._computed = [p.to(dtype) for p in text], [p.to(dtype) for p in vision]

    def forward(self) -> tuple[list[Tensor], list[Tensor]]:
        """As `CoupledPrompts.forward`."""
        return self._computed


def _round_to_half(x: Tensor) -> Tensor:
    return x.to(torch.float16).to(x.dtype)
