"""Stochastic depth: in training, whole layers are skipped at random.

Huang, Sun, Liu, Sedra, Weinberger: "Deep Networks with Stochastic Depth", ECCV 2016, arXiv 1603.09382, section 3.
docs/models/drop-path.md lists the deviations.
"""

from __future__ import annotations

import torch
from torch import Tensor


def layer_rate(rate: float, depth: int, layers: int) -> float:
    """Returns the probability that a layer is skipped, which grows linearly: `rate * (depth + 1) / layers`.

    Args:
        rate: of the last layer.
        depth: of the layer, from 0.
        layers: number of layers.
    """
    return rate * (depth + 1) / layers


def drop_layer(before: Tensor, after: Tensor, rate: float, num_frames: int) -> Tensor:
    """Skips a layer for some videos: `before + k / (1 - rate) * (after - before)`, where k is 0 or 1.

    k is drawn from torch's generator, once per video: a layer that only some frames of a video went through would
    be movement that is not there. The mean over k is `after`.

    Args:
        before: input of the layer, (B*T, L, W) with T = `num_frames`.
        after: its output, of the same shape.
        rate: probability of k = 0, below 1.
        num_frames: frames of a video.
    """
    kept = torch.rand(len(before) // num_frames, device=before.device) >= rate
    scale = kept.repeat_interleave(num_frames)[:, None, None].to(after.dtype) / (1 - rate)
    return before + scale * (after - before)
