"""Other ways to show a model a video: with its time destroyed, or together with its mirror image.

A model of video that answers the same when the frames are shuffled does not look at time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from random import Random

import torch
from torch import Tensor

from peclip.types import Batch

Ask = Callable[[Batch], Tensor]
"""Videos of any number of frames → probabilities (B, C)."""

View = Callable[[Ask, Batch, Sequence[str], int], Tensor]
"""(ask, videos, ids of the videos, seed) → probabilities (B, C)."""

AS_RECORDED = "as-recorded"


def as_recorded(ask: Ask, videos: Batch, ids: Sequence[str], seed: int) -> Tensor:
    """Shows the frames in their order."""
    return ask(videos)


def reverse(ask: Ask, videos: Batch, ids: Sequence[str], seed: int) -> Tensor:
    """Shows the last frame first."""
    B, T = videos.frames.shape[:2]
    order = torch.arange(T - 1, -1, -1, device=videos.frames.device)
    return ask(videos.at(order.expand(B, T)))


def shuffle(ask: Ask, videos: Batch, ids: Sequence[str], seed: int) -> Tensor:
    """Shows the frames in a random order, another one for every video, never that of the recording.

    The order depends on the seed and the id of the video alone, not on its batch or rank.
    """
    orders = [_disorder(videos.frames.shape[1], f"{seed}:{name}") for name in ids]
    return ask(videos.at(torch.tensor(orders, device=videos.frames.device)))


def repeat_peak(ask: Ask, videos: Batch, ids: Sequence[str], seed: int) -> Tensor:
    """Shows one frame as often as there are frames: the one that the model is surest of on its own."""
    B, T = videos.frames.shape[:2]
    surest = ask(videos.as_stills()).max(-1).values.view(B, T).argmax(-1)
    return ask(videos.at(surest[:, None].expand(B, T)))


FRAME_ORDERS: dict[str, View] = {
    AS_RECORDED: as_recorded,
    "shuffled": shuffle,
    "reversed": reverse,
    "repeat-peak": repeat_peak,
}


def as_it_is(view: View) -> View:
    """Leaves a view as it is."""
    return view


def with_mirror(view: View) -> View:
    """Returns the view whose probabilities are the mean over a video and its mirror image."""

    def both(ask: Ask, videos: Batch, ids: Sequence[str], seed: int) -> Tensor:
        return (view(ask, videos, ids, seed) + view(ask, videos.mirrored(), ids, seed)) / 2

    return both


AUGMENTATIONS: dict[str, Callable[[View], View]] = {"none": as_it_is, "flip": with_mirror}


def _disorder(length: int, key: str) -> list[int]:
    random = Random(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))
    order = list(range(length))
    while length > 1 and order == sorted(order):
        random.shuffle(order)
    return order
