"""Frame orders for evaluation (temporal ablation), and averaging over several views.

A video model whose predictions do not change when the frames are shuffled ignores time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from random import Random

import torch
from torch import Tensor

from peclip.models.views import views_of
from peclip.text.views import Views
from peclip.types import Batch

Predict = Callable[[Batch], Tensor]
"""Videos of any number of frames → probabilities (B, C)."""

View = Callable[[Predict, Batch, Sequence[str], int], Tensor]
"""(predict, videos, ids of the videos, seed) → probabilities (B, C)."""

AS_RECORDED = "as-recorded"


def as_recorded(predict: Predict, videos: Batch, ids: Sequence[str], seed: int) -> Tensor:
    """Returns the frames in their recorded order."""
    return predict(videos)


def reverse(predict: Predict, videos: Batch, ids: Sequence[str], seed: int) -> Tensor:
    """Reverses the frames."""
    B, T = videos.frames.shape[:2]
    order = torch.arange(T - 1, -1, -1, device=videos.frames.device)
    return predict(videos.at(order.expand(B, T)))


def shuffle(predict: Predict, videos: Batch, ids: Sequence[str], seed: int) -> Tensor:
    """Returns the frames in a random order that differs between videos and is never the recorded one.

    The order depends only on the seed and the video id, not on batch or rank.
    """
    orders = [_disorder(videos.frames.shape[1], f"{seed}:{name}") for name in ids]
    return predict(videos.at(torch.tensor(orders, device=videos.frames.device)))


def repeat_peak(predict: Predict, videos: Batch, ids: Sequence[str], seed: int) -> Tensor:
    """Repeats one frame: the one with the most confident prediction."""
    B, T = videos.frames.shape[:2]
    surest = predict(videos.as_stills()).max(-1).values.view(B, T).argmax(-1)
    return predict(videos.at(surest[:, None].expand(B, T)))


FRAME_ORDERS: dict[str, View] = {
    AS_RECORDED: as_recorded,
    "shuffled": shuffle,
    "reversed": reverse,
    "repeat-peak": repeat_peak,
}


def averaged(view: View, views: Views) -> View:
    """Returns the view whose probabilities are the mean over several views of a video; see `views_of`."""

    def mean(predict: Predict, videos: Batch, ids: Sequence[str], seed: int) -> Tensor:
        shown = [view(predict, one, ids, seed) for one in views_of(videos, views)]
        return torch.stack(shown).mean(0)

    return mean


def _disorder(length: int, key: str) -> list[int]:
    random = Random(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))
    order = list(range(length))
    while length > 1 and order == sorted(order):
        random.shuffle(order)
    return order
