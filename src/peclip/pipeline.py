"""Stages of a pipeline that work at the same time."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def run_ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """Yields items while a thread of its own already makes the next one.

    One item is made ahead and no more, so memory does not grow with the speed of the maker. What the
    maker raises is raised here, behind the items before it. Closing the generator waits for the item
    that is being made, and leaves no thread behind.

    Args:
        items: are made where decoding, detection and the like release Python's lock.
    """
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="peclip") as pool:
        coming = pool.submit(next, iterator, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]  # it is not the end


def in_turn(items: Iterable[Item]) -> Generator[Item, None, None]:
    """Yields items that are made when they are asked for, where `run_ahead` would not pay."""
    yield from items
