"""Concurrent pipeline stages."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def run_ahead(
    items: Iterable[Item], left: threading.Event | None = None
) -> Generator[Item, None, None]:
    """Yields items while a background thread makes the next one.

    At most one item is made ahead, so memory is bounded. An exception of the maker is raised here, after
    the items before it. Closing the generator waits for the current item and leaves no thread behind.

    Args:
        items: made in a thread, where decoding, detection and similar work release the GIL.
        left: set as soon as no more items are consumed, for any reason. A slow maker should check it and
            stop early, since closing waits for its item.
    """
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="peclip") as pool:
        try:
            coming = pool.submit(next, iterator, end)
            while (item := coming.result()) is not end:
                coming = pool.submit(next, iterator, end)
                yield item  # type: ignore[misc]  # it is not the end
        finally:
            if left is not None:
                left.set()


def in_turn(
    items: Iterable[Item], left: threading.Event | None = None
) -> Generator[Item, None, None]:
    """Yields items made on demand, for cases in which `run_ahead` does not pay off.

    No item is in progress when it is closed, so `left` is unused.
    """
    yield from items
