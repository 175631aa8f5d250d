"""Stages that work at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from peclip.inference.prefetch import frames_ahead, run_ahead


def test_items_keep_their_order_and_iteration_ends() -> None:
    assert list(run_ahead(range(100))) == list(range(100))
    assert list(run_ahead([])) == []
    assert list(run_ahead([None, None])) == [None, None]


def test_one_item_is_prefetched_at_a_time() -> None:
    made: list[int] = []
    second = threading.Event()

    def make() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    items = run_ahead(make())
    assert next(items) == 0
    assert second.wait(60), "nobody makes the second item while the first is used"
    assert made == [0, 1]
    assert list(items) == [1, 2, 3, 4]


def test_several_items_are_prefetched_and_no_more() -> None:
    made: list[int] = []
    fourth = threading.Event()

    def make() -> Iterator[int]:
        for number in range(9):
            made.append(number)
            if number == 3:
                fourth.set()
            yield number

    items = run_ahead(make(), ahead=3)
    assert next(items) == 0
    assert fourth.wait(60)
    assert made == [0, 1, 2, 3]
    assert next(items) == 1
    items.close()
    assert len(made) <= 5


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [(1280, 720, 16), (3840, 2160, 2), (16_384, 8_192, 1), (0, 0, 16)],
)
def test_frames_decoded_ahead_by_hand(width: int, height: int, count: int) -> None:
    """64 MiB are 24.3 frames of 720p, 2.7 of 4K, and less than one of the largest size."""
    assert frames_ahead(width, height) == count


def test_an_exception_of_the_producer_follows_the_items_before_it() -> None:
    def make() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("damaged")

    items = run_ahead(make())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="damaged"):
        next(items)
    assert list(items) == []


def test_the_producer_of_a_long_item_is_told_to_stop() -> None:
    left, started = threading.Event(), threading.Event()
    learned: list[bool] = []

    def make() -> Iterator[int]:
        yield 0
        started.set()
        learned.append(left.wait(60))

    items = run_ahead(make(), left)
    assert next(items) == 0
    assert started.wait(60)
    items.close()
    assert learned == [True]


def test_closing_waits_for_the_producer_and_leaves_no_thread() -> None:
    before = threading.active_count()
    started, go_on = threading.Event(), threading.Event()
    finished: list[int] = []

    def make() -> Iterator[int]:
        yield 0
        started.set()
        go_on.wait(60)
        finished.append(1)
        yield 1

    items = run_ahead(make())
    assert next(items) == 0
    assert started.wait(60)
    go_on.set()
    items.close()
    assert finished == [1]
    assert threading.active_count() == before
