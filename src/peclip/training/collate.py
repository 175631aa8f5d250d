"""Converts loaded videos to a model's input batch."""

from __future__ import annotations

import torch
from torch import Tensor

from peclip.data.dataset import Videos
from peclip.nn.preprocess import Preprocess
from peclip.types import Batch


def to_batch(
    videos: Videos, preprocess: Preprocess, device: torch.device, targets: Tensor | None = None
) -> Batch:
    """Moves videos to a device, and scales and normalises their pictures there.

    Args:
        videos: from the loader.
        preprocess: of the model.
        device: of the model.
        targets: float (B, C), in training.
    """
    streams = {name: part.prepared(preprocess, device) for name, part in videos.streams.items()}
    return Batch(preprocess(videos.crops.to(device, non_blocking=True)), targets, streams)
