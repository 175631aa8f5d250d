"""The order of the videos, their distribution over ranks, and the workers that read them.

A batch spans all ranks, and rank r of n takes its videos r, r + n, r + 2n, … Nothing is
padded or dropped, so that any number of ranks sees the same videos in the same steps.
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
    """Returns the draws of an epoch in random order, as many as there are videos.

    Args:
        targets: the class of every video.
        seed: together with the epoch it decides the order.
        epoch: from 0.
        balance: a class of n videos comes in proportion to n to the power 1 - balance, its videos in
            turn: at 0 every video comes once, at 1 every class equally often.
        soft_targets: float (N, C) of every video, used instead of the classes: see `soft_weights`.
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
    """Returns the expected number of draws of every video in an epoch, N in total.

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
    """Returns draws of these videos, numbered by repetition."""
    seen: Counter[int] = Counter()
    draws = []
    for video in videos:
        draws.append(Draw(epoch, video, seen[video]))
        seen[video] += 1
    return draws


def _apportion(sizes: Mapping[int, float], total: int) -> list[int]:
    """Distributes `total` draws over the classes by their sizes (largest remainders)."""
    whole = sum(sizes.values())
    exact = {target: total * size / whole for target, size in sizes.items()}
    counts = {target: math.floor(number) for target, number in exact.items()}
    rest = sorted(exact, key=lambda target: (counts[target] - exact[target], target))
    for target in rest[: total - sum(counts.values())]:
        counts[target] += 1
    return [target for target in sorted(counts) for _ in range(counts[target])]


def batches_of(draws: Sequence[Draw], batch_size: int) -> list[list[Draw]]:
    """Cuts an epoch into batches; the last one may be smaller, and no video is dropped."""
    return [list(draws[start : start + batch_size]) for start in range(0, len(draws), batch_size)]


def share(batches: Sequence[Sequence[Draw]], rank: int, world_size: int) -> list[list[Draw]]:
    """Returns one rank's part of every batch, which is empty if a batch has too few videos."""
    return [list(batch[rank::world_size]) for batch in batches]


class VideoLoader:
    """Reads batches of videos, prefetching with workers, which live as long as the loader.

    Starting new workers in every epoch would leave a GPU idle until they have read the first batches.

    Args:
        dataset: of the videos.
        workers: processes that read.
        pin_memory: for asynchronous copies to CUDA.
    """

    def __init__(
        self, dataset: VideoDataset, *, workers: int = 0, pin_memory: bool = False
    ) -> None:
        self._batches: list[list[Draw]] = []
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=self._batches,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            # Without a separate generator the loader would draw from the global one.
            generator=torch.Generator().manual_seed(0),
        )

    def read(
        self, batches: Sequence[Sequence[Draw]], *, skipped: list[Unreadable] | None = None
    ) -> Iterator[Videos | None]:
        """Reads batches in order; at most one such iterator may be in use.

        Args:
            batches: which videos.
            skipped: collects the unreadable videos; with `None` the first one raises an error.

        Yields:
            The videos of each batch; `None` for a batch without any.

        Raises:
            DatasetError: a video cannot be read.
            RuntimeError: a worker process died; `reader_errors` turns it into a one-line error.
        """
        self._batches[:] = [list(batch) for batch in batches]  # which the loader's sampler is
        for videos, unreadable in self._loader:
            if unreadable and skipped is None:
                raise DatasetError(
                    f"{unreadable[0].reason} Download the video again, or remove it from the data "
                    "set. To find all unreadable videos, run peclip data check."
                )
            if skipped is not None:
                skipped += unreadable
            yield videos


def load_batches(
    dataset: VideoDataset,
    batches: Sequence[Sequence[Draw]],
    *,
    workers: int = 0,
    pin_memory: bool = False,
    skipped: list[Unreadable] | None = None,
) -> Iterator[Videos | None]:
    """Reads batches once; see `VideoLoader`."""
    loader = VideoLoader(dataset, workers=workers, pin_memory=pin_memory)
    return loader.read(batches, skipped=skipped)


@contextmanager
def reader_errors() -> Iterator[None]:
    """Turns the death of a worker process into a one-line error.

    torch raises it from a signal handler, at any point of the main process, so wrap all code that uses the
    output of `load_batches`.

    Raises:
        DatasetError: a worker died.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise DatasetError(
            f"A worker process died: {first_line(error).rstrip('. ')}. This usually means that "
            "memory ran out. Use fewer workers (--workers 1) or none (--workers 0); in Docker, "
            "increase the shared memory (--shm-size 8g)."
        ) from error
