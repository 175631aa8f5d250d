"""Which videos come when, and on which rank; and the workers that read them.

A batch is a batch of all ranks together, and rank r of n takes its videos r, r + n, r + 2n, … Nothing is
padded or left out, so that any number of ranks sees the same videos in the same steps.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from peclip.data.dataset import Draw, Unreadable, VideoDataset, Videos, collate
from peclip.errors import DatasetError, first_line


def epoch_draws(
    targets: Sequence[int],
    *,
    seed: int,
    epoch: int,
    balance: float = 0.0,
    soft_targets: Tensor | None = None,
) -> list[Draw]:
    """Returns the videos of an epoch in their random order, as many as there are.

    Args:
        targets: the class of every video.
        seed: together with the epoch it decides the order.
        epoch: from 0.
        balance: a class of n videos comes in proportion to n to the power 1 - balance, its videos in
            turn: at 0 every video comes once, at 1 every class equally often.
        soft_targets: float (N, C) of every video, which then stand for the classes: see `soft_weights`.
    """
    random = Random(f"{seed}:{epoch}:order")
    if not balance:
        order = list(range(len(targets)))
        random.shuffle(order)
        return [Draw(epoch, index) for index in order]
    if soft_targets is not None:
        return _numbered(epoch, _systematic(soft_weights(soft_targets, balance), random))
    members: dict[int, list[int]] = defaultdict(list)
    for index, target in enumerate(targets):
        members[target].append(index)
    for group in members.values():
        random.shuffle(group)
    turns = {target: itertools.cycle(group) for target, group in members.items()}
    sizes = {target: len(group) ** (1 - balance) for target, group in members.items()}
    classes = _apportion(sizes, len(targets))
    random.shuffle(classes)
    return _numbered(epoch, (next(turns[target]) for target in classes))


def soft_weights(soft_targets: Tensor, balance: float) -> list[float]:
    """Returns how often every video is to be drawn in an epoch, N times in all.

    A class c has n_c = sum_i t_ic videos, which need not be a whole number. Were a class drawn in proportion to n_c
    to the power 1 - balance, and then one of its videos in proportion to its t_ic, video i would come in proportion
    to w_i = sum_c t_ic n_c^(-balance). With one-hot targets every class has its share exactly.

    Args:
        soft_targets: t, float (N, C); rows add up to 1.
        balance: from 0, as they are, to 1, every class equally often.
    """
    targets = soft_targets.double()
    counts = targets.sum(0)
    present = counts > 0
    weights = targets[:, present] @ counts[present] ** -balance
    return (weights * (len(targets) / weights.sum())).tolist()


def _systematic(weights: Sequence[float], random: Random) -> list[int]:
    """Draws every video its weight times, rounded up or down, in random order; weights add up to their number.

    Systematic sampling: all draws are a distance of 1 apart on a line along which the videos lie in random order,
    each as long as its weight. No video comes more than once more or less than it should, as independent draws would
    have it.
    """
    order = list(range(len(weights)))
    random.shuffle(order)
    ends = list(itertools.accumulate(weights[index] for index in order))
    ends[-1] = float(len(weights))  # where rounding would lose or add a draw
    start, drawn, before = random.random(), list[int](), 0
    for index, end in zip(order, ends, strict=True):
        until = math.floor(end + start)
        drawn += [index] * (until - before)
        before = until
    random.shuffle(drawn)
    return drawn


def _numbered(epoch: int, videos: Iterable[int]) -> list[Draw]:
    """Returns draws of these videos that know how often each came before."""
    seen: Counter[int] = Counter()
    draws = []
    for video in videos:
        draws.append(Draw(epoch, video, seen[video]))
        seen[video] += 1
    return draws


def _apportion(sizes: Mapping[int, float], total: int) -> list[int]:
    """Returns every class as often as its size says, `total` in all (largest remainders)."""
    whole = sum(sizes.values())
    exact = {target: total * size / whole for target, size in sizes.items()}
    counts = {target: math.floor(number) for target, number in exact.items()}
    rest = sorted(exact, key=lambda target: (counts[target] - exact[target], target))
    for target in rest[: total - sum(counts.values())]:
        counts[target] += 1
    return [target for target in sorted(counts) for _ in range(counts[target])]


def batches_of(draws: Sequence[Draw], batch_size: int) -> list[list[Draw]]:
    """Cuts an epoch into batches; the last one may be smaller, and none is left out."""
    return [list(draws[start : start + batch_size]) for start in range(0, len(draws), batch_size)]


def share(batches: Sequence[Sequence[Draw]], rank: int, world_size: int) -> list[list[Draw]]:
    """Returns what one rank reads of every batch, which is nothing where a batch has too few videos."""
    return [list(batch[rank::world_size]) for batch in batches]


def load_batches(
    dataset: VideoDataset,
    batches: Sequence[Sequence[Draw]],
    *,
    workers: int = 0,
    pin_memory: bool = False,
    skipped: list[Unreadable] | None = None,
) -> Iterator[Videos | None]:
    """Reads batches in their order, ahead of time where there are workers.

    Args:
        dataset: of the videos.
        batches: which of them.
        workers: processes that read.
        pin_memory: for a copy to CUDA that does not wait.
        skipped: takes the videos that cannot be read; `None` makes the first one an error.

    Yields:
        The videos of each batch; `None` for a batch without any.

    Raises:
        DatasetError: a video cannot be read.
        RuntimeError: a process that reads has died; `reader_errors` says it in one line.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=[list(batch) for batch in batches],
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin_memory,
        # Without one of its own the loader would draw from the global generator.
        generator=torch.Generator().manual_seed(0),
    )
    for videos, unreadable in loader:
        if unreadable and skipped is None:
            raise DatasetError(
                f"{unreadable[0].reason} Get the video again, or take it out of the data set; "
                "peclip data check reads some frames of every video and names those that cannot be read."
            )
        if skipped is not None:
            skipped += unreadable
        yield videos


@contextmanager
def reader_errors() -> Iterator[None]:
    """Says in one line that a process that reads has died.

    torch raises it from a signal, wherever the main process is then, so it belongs around all that is done with
    what `load_batches` yields.

    Raises:
        DatasetError: one has died.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise DatasetError(
            f"A process that reads videos has died: {first_line(error).rstrip('. ')}. Often the memory is too "
            "small: read with fewer of them (--workers 1) or in the main process (--workers 0), and in Docker "
            "give more shared memory (--shm-size 8g)."
        ) from error
