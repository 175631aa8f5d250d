"""Stages of a pipeline that work at the same time."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def run_ahead(
    items: Iterable[Item], left: threading.Event | None = None
) -> Generator[Item, None, None]:
    """Yields items while a thread of its own already makes the next one.

    One item is made ahead and no more, so memory does not grow with the speed of the maker. What the
    maker raises is raised here, behind the items before it. Closing the generator waits for the item
    that is being made, and leaves no thread behind.

    Args:
        items: are made where decoding, detection and the like release Python's lock.
        left: is set as soon as no more items are taken, whatever the reason. Who makes an item that takes
            long looks at it and ends early, since leaving waits for that item.
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
    """Yields items that are made when they are asked for, where `run_ahead` would not pay.

    Nothing is being made when it is left, so `left` is not needed.
    """
    yield from items
