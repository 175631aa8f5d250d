"""Weighting of the streams of a video (FineCLIPER, arXiv 2407.02157)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class AdaptiveWeights(nn.Module):
    """Weights the streams of a video by a learned score of each one's feature.

    `softmax_m(w_m . f_m + b_m)` over the present streams m. All start with the same weight. The
    paper states that its weights are adaptive, but not how; this form is peclip's choice.
    """

    def __init__(self, width: int, streams: Sequence[str]) -> None:
        super().__init__()
        self.scores = nn.ModuleDict({name: nn.Linear(width, 1) for name in streams})
        for score in self.scores.values():
            nn.init.zeros_(score.weight)  # type: ignore[arg-type]
            nn.init.zeros_(score.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """Maps features (B, M, D) of the streams that are `present`, bool (B, M), to weights (B, M)."""
        pairs = zip(self.scores.values(), features.unbind(1), strict=True)
        scores = torch.cat([score(feature) for score, feature in pairs], dim=1)
        return scores.masked_fill(~present, -torch.inf).softmax(-1)


class FixedWeights(nn.Module):
    """Gives the video a fixed weight, and shares the rest among the other streams (paper, ablation)."""

    def __init__(self, video_weight: float) -> None:
        super().__init__()
        self.video_weight = video_weight

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """Maps features (B, M, D) of the streams that are `present`, bool (B, M), to weights (B, M)."""
        others = present[:, 1:].to(features.dtype)
        count = others.sum(1, keepdim=True)
        video = torch.where(count > 0, self.video_weight, 1.0)
        return torch.cat([video, (1 - video) * others / count.clamp(min=1)], dim=1)
