"""Comparisons of videos with texts: the score of two polarities, and the contrastive loss of captions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from peclip.runtime import on_device


def polarity_cosines(features: Tensor, label_features: Tensor) -> Tensor:
    """Returns how much closer features are to the positive text of each label than to its negative text.

    The paper does not state the rule; it is the only one of three candidates that reproduces all four
    predictions in its figure of cosines (the largest positive gives two, the smallest negative three).

    Args:
        features: (…, D), unit length.
        label_features: (2, C, D), unit length: positive and negative.

    Returns:
        Differences of cosines, (…, C), from -2 to 2.
    """
    positive, negative = label_features.unbind(0)
    cosines: Tensor = features @ positive.T - features @ negative.T
    return cosines


def align(
    videos: Tensor, captions: Tensor | None, texts: Sequence[str], temperature: float
) -> Tensor:
    """Returns the contrastive loss between videos and captions, the mean of both directions.

    Each video should be closest to its caption among those of the batch, and vice versa
    (Radford et al., 2021); identical captions count as correct for all their videos. At least in fp32,
    like `compare`: in bf16 many cosines would be equal.

    Args:
        videos: (B, D), unit length.
        captions: (B, D), unit length; `None` if there are none.
        texts: B texts; videos with an empty one are skipped.
        temperature: divides the cosines.
    """
    known = [place for place, text in enumerate(texts) if text]
    if captions is None or not known:
        nothing: Tensor = videos.sum() * 0  # a zero loss with a gradient, for the sum over ranks
        return nothing
    own = [texts[place] for place in known]
    same = on_device(torch.tensor([[a == b for b in own] for a in own]), videos.device)
    places = on_device(torch.tensor(known), videos.device)
    targets = same / same.sum(1, keepdim=True)
    dtype = torch.promote_types(videos.dtype, torch.float32)
    with torch.autocast(videos.device.type, enabled=False):
        logits = videos[places].to(dtype) @ captions[places].to(dtype).T / temperature
        return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
