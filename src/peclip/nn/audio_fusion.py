"""Fusion of the feature of a video with that of its sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from peclip.nn.audio_encoder import AudioEncoder
from peclip.nn.fusion import AdaptiveWeights
from peclip.runtime import on_device


class AudioFusion(nn.Module):
    """Adds what is heard to what is seen.

    With the feature `v` of a video (unit length), the feature `h` of its sound, and `mlp(x) = U gelu(V x + b) + c`::

        concatenation:   f = v + mlp([norm(v); norm(h)])
        adaptive:        f = w_v v + w_a a,   a = mlp(norm(h)),   (w_v, w_a) = AdaptiveWeights(v, a)

    `U` and `c` start at zero, so that a new model predicts as the video alone. Without sound, `f = v`.

    Args:
        encoder: of the sound.
        width: D, of the feature of a video.
        fusion: which of the two.
    """

    def __init__(
        self, encoder: AudioEncoder, width: int, fusion: Literal["concatenation", "adaptive"]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.LayerNorm(encoder.width)
        joint = encoder.width
        self.weights: AdaptiveWeights | None = None
        if fusion == "adaptive":
            self.weights = AdaptiveWeights(width, ("video", "audio"))
        else:
            self.video_norm = nn.LayerNorm(width)
            joint += width
        self.mlp = nn.Sequential(nn.Linear(joint, width), nn.GELU(), nn.Linear(width, width))
        nn.init.zeros_(self.mlp[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.mlp[2].bias)  # type: ignore[arg-type]

    def forward(self, video: Tensor, samples: Tensor, lengths: Sequence[int]) -> Tensor:
        """Fuses videos with their sound.

        Args:
            video: (B, D), unit length.
            samples: float (B, N), at the rate of the encoder.
            lengths: samples of each sound; 0 without sound.

        Returns:
            (B, D), not normalised; exactly the feature of the video where there is no sound.
        """
        heard = self.norm(self.encoder(samples, lengths))
        if self.weights is None:
            fused = video + self.mlp(torch.cat([self.video_norm(video), heard], dim=1))
        else:
            audio = self.mlp(heard)
            streams = torch.stack([video, audio.to(video.dtype)], dim=1)  # (B, 2, D)
            weights = self.weights(streams, torch.ones_like(streams[..., 0], dtype=torch.bool))
            fused = (weights[..., None] * streams).sum(1)
        known = on_device(torch.tensor([length > 0 for length in lengths]), video.device)
        return torch.where(known[:, None], fused, video)
