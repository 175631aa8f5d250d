"""Several views of a video at test time: choices of its frames, parts of its pictures, mirror images.

The mean of the probabilities over all views is the prediction, as in testing with several clips and crops (Feichtenhofer
et al., 2019, "SlowFast"); docs/evaluation.md has the definitions and the cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from peclip.text.views import MAX_CROPS, Views
from peclip.types import Batch

_SIDE = 7 / 8
"""Side of a crop, as a fraction of the picture's: 224 of 256 pixels."""
_CROPS = (None, (0.5, 0.5), (0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0))
"""In this order: the whole picture, its centre, top left, bottom right, top right, bottom left. A place is that of the
crop's top left corner, from 0 to 1 of where it may be."""
assert len(_CROPS) == MAX_CROPS


def views_of(batch: Batch, views: Views) -> Iterator[Batch]:
    """Yields every view of a batch of videos, each as a batch of the same size.

    Args:
        batch: with the frames of the clips one after the other, (B, clips * T, 3, S, S); not encoded, unless there is
            one view.
        views: the views.
    """
    for clip in _clips(batch, views.clips):
        for place in _CROPS[: views.crops]:
            seen = clip if place is None else clip.with_pictures(partial(crop, place=place))
            yield seen
            if views.flip:
                yield seen.mirrored()


def _clips(batch: Batch, clips: int) -> Iterator[Batch]:
    if clips == 1:
        yield batch
        return
    B, frames = batch.frames.shape[:2]
    for numbers in torch.arange(frames, device=batch.frames.device).chunk(clips):
        yield batch.at(numbers.expand(B, -1))


def crop(pictures: Tensor, place: tuple[float, float]) -> Tensor:
    """Returns a part of pictures, float (…, 3, S, S), enlarged to their size by bilinear interpolation.

    Args:
        pictures: the whole pictures.
        place: vertical and horizontal place of the part, from 0 (top, left) to 1 (bottom, right).
    """
    S = pictures.shape[-1]
    side = round(_SIDE * S)
    top, left = (round(part * (S - side)) for part in place)
    inside = pictures[..., top : top + side, left : left + side].reshape(-1, 3, side, side)
    return F.interpolate(inside, size=(S, S), mode="bilinear").view(pictures.shape)
