"""Other ways to show a model a video: with its time destroyed, or together with its mirror image.

A model of video that answers the same when the frames are shuffled does not look at time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from random import Random

import torch
from torch import Tensor

Ask = Callable[[Tensor], Tensor]
"""Frames (B, T, 3, S, S) of any T → probabilities (B, C)."""

View = Callable[[Ask, Tensor, Sequence[str], int], Tensor]
"""(ask, frames (B, T, 3, S, S), ids of the videos, seed) → probabilities (B, C)."""

AS_RECORDED = "as-recorded"


def as_recorded(ask: Ask, frames: Tensor, ids: Sequence[str], seed: int) -> Tensor:
    """Shows the frames in their order."""
    return ask(frames)


def reverse(ask: Ask, frames: Tensor, ids: Sequence[str], seed: int) -> Tensor:
    """Shows the last frame first."""
    return ask(frames.flip(1))


def shuffle(ask: Ask, frames: Tensor, ids: Sequence[str], seed: int) -> Tensor:
    """Shows the frames in a random order, another one for every video, never that of the recording.

    The order depends on the seed and the id of the video alone, not on its batch or rank.
    """
    orders = [_disorder(frames.shape[1], f"{seed}:{name}") for name in ids]
    order = torch.tensor(orders, device=frames.device)[:, :, None, None, None]
    return ask(frames.gather(1, order.expand_as(frames)))


def repeat_peak(ask: Ask, frames: Tensor, ids: Sequence[str], seed: int) -> Tensor:
    """Shows one frame as often as there are frames: the one that the model is surest of on its own."""
    B, T = frames.shape[:2]
    surest = ask(frames.flatten(0, 1)[:, None]).max(-1).values.view(B, T).argmax(-1)
    peaks = frames[torch.arange(B, device=frames.device), surest]
    return ask(peaks[:, None].expand_as(frames).contiguous())


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

    def both(ask: Ask, frames: Tensor, ids: Sequence[str], seed: int) -> Tensor:
        return (view(ask, frames, ids, seed) + view(ask, frames.flip(-1), ids, seed)) / 2

    return both


AUGMENTATIONS: dict[str, Callable[[View], View]] = {"none": as_it_is, "flip": with_mirror}


def _disorder(length: int, key: str) -> list[int]:
    random = Random(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))
    order = list(range(length))
    while length > 1 and order == sorted(order):
        random.shuffle(order)
    return order
