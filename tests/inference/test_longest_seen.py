from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from peclip.inference.longest_seen import LongestSeen
from peclip.results.rows import Row, failure_row
from peclip.video.windows import FaceWindow


def window(number: int, track: int, coverage: float) -> FaceWindow:
    """A window of one second."""
    return FaceWindow(
        track_id=track,
        window=number,
        start_s=number,
        end_s=number + 1.0,
        start_frame=10 * number,
        end_frame=10 * number + 9,
        num_frames_used=1,
        crops=np.zeros((0, 8, 8, 3), np.uint8),
        box=None,
        coverage=coverage,
        n_faces=1,
    )


VIDEO = [
    [window(0, 0, 0.6)],
    [window(1, 0, 0.3), window(1, 1, 1.0)],
    [window(2, 1, 1.0), window(2, 2, 1.0)],
    [window(3, -1, 0.0)],
    [window(4, 2, 0.5)],
]
"""Seen for 0.9, 2.0 and 1.5 s; nobody in window 3."""


def row(one: FaceWindow) -> Row:
    template = failure_row("v", "m", "")
    values = {name: getattr(template, name) for name in template.__dataclass_fields__}
    return Row(**values | {"track_id": one.track_id, "window": one.window, "status": "ok"})


def rows(longest: LongestSeen) -> Iterator[tuple[int, int]]:
    for people in VIDEO:
        for person in longest.kept(people):
            yield from ((kept.window, kept.track_id) for kept in longest.hold(row(person)))
    yield from ((kept.window, kept.track_id) for kept in longest.rest())


def test_the_longest_seen_of_a_whole_source() -> None:
    one, two = LongestSeen(1, live=False), LongestSeen(2, live=False)
    assert list(rows(one)) == [(1, 1), (2, 1), (3, -1)]
    assert one.metadata == {"left_out": {"people": 2, "rows": 4}}
    assert list(rows(two)) == [(1, 1), (2, 1), (2, 2), (3, -1), (4, 2)]
    assert two.metadata == {"left_out": {"people": 1, "rows": 2}}


def test_no_row_is_written_before_the_source_ends() -> None:
    longest = LongestSeen(1, live=False)
    for people in VIDEO:
        for person in longest.kept(people):
            assert list(longest.hold(row(person))) == []


def test_a_live_source_is_decided_by_the_time_seen_so_far() -> None:
    """After window 1, person 0 was seen for 0.9 s and person 1 for 1.0 s; person 2 never overtakes."""
    live = LongestSeen(1, live=True)
    assert list(rows(live)) == [(0, 0), (1, 1), (2, 1), (3, -1)]
    assert live.metadata == {"left_out": {"people": 2, "rows": 3}}


def test_without_a_limit_everything_is_kept_at_once() -> None:
    every = LongestSeen(None, live=False)
    assert list(every.hold(row(VIDEO[0][0]))) == [row(VIDEO[0][0])]
    assert len(list(rows(every))) == 7
    assert every.metadata == {}


def test_at_a_tie_the_first_person_is_kept() -> None:
    longest = LongestSeen(1, live=True)
    assert [p.track_id for p in longest.kept([window(0, 0, 1.0), window(0, 1, 1.0)])] == [0]
