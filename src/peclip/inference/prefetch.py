"""Concurrent pipeline stages."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

_AHEAD = 16
_AHEAD_BYTES = 64 * 2**20


def frames_ahead(width: int, height: int) -> int:
    """Returns how many RGB frames of a size are decoded ahead: 16, in at most 64 MiB."""
    return max(1, min(_AHEAD, _AHEAD_BYTES // max(1, 3 * width * height)))


def run_ahead(
    items: Iterable[Item], left: threading.Event | None = None, ahead: int = 1
) -> Generator[Item, None, None]:
    """Yields items while a background thread makes the next ones.

    At most `ahead` items are made ahead, so memory is bounded. An exception of the maker is raised here, after
    the items before it. Closing the generator waits for the current item and leaves no thread behind.

    Args:
        items: made in a thread, where decoding, detection and similar work release the GIL.
        left: set as soon as no more items are consumed, for any reason. A slow maker should check it and
            stop early, since closing waits for its item.
        ahead: number of items, 1 or more.
    """
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="peclip") as pool:
        coming = deque(pool.submit(next, iterator, end) for _ in range(ahead))
        try:
            while (item := coming.popleft().result()) is not end:
                coming.append(pool.submit(next, iterator, end))
                yield item  # type: ignore[misc]  # it is not the end
        finally:
            for future in coming:
                future.cancel()
            if left is not None:
                left.set()


def in_turn(
    items: Iterable[Item], left: threading.Event | None = None, ahead: int = 1
) -> Generator[Item, None, None]:
    """Yields items made on demand, for cases in which `run_ahead` does not pay off.

    No item is in progress when it is closed, so `left` and `ahead` are unused.
    """
    yield from items
