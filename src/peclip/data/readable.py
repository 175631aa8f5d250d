"""The videos of batches that can be read, for an evaluation that goes on without the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from peclip.data.dataset import Draw, Item, VideoDataset, Videos, collate


def load_readable(
    dataset: VideoDataset,
    batches: Sequence[Sequence[Draw]],
    *,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Videos | None]:
    """Reads batches as `load_batches` does, and leaves out what cannot be read.

    Yields:
        The videos of each batch that could be read; `None` for a batch without any. `indices` tell which.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=[list(batch) for batch in batches],
        collate_fn=collate_readable,
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(0),  # not a number of the global one
    )
    yield from loader


def collate_readable(items: Sequence[Item | str]) -> Videos | None:
    """Puts the videos together that were read; `None` for none."""
    videos = collate([item for item in items if isinstance(item, Item)])
    return videos if isinstance(videos, Videos) else None
