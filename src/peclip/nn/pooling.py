"""The feature of a video from the features of its frames."""

from __future__ import annotations

from torch import Tensor, nn


class MeanOverFrames(nn.Module):
    """The mean over the frames that are present, which ignores their order (PE-CLIP, FineCLIPER)."""

    def forward(self, features: Tensor, present: Tensor | None = None) -> Tensor:
        """Maps features (B, T, D) and which frames are present, bool (B, T) or `None` for all, to (B, D)."""
        if present is None:
            return features.mean(dim=1)
        seen = present[..., None].to(features.dtype)
        return (features * seen).sum(1) / seen.sum(1).clamp(min=1)
