"""Times as people write them, and ticks that do not overlap."""

from __future__ import annotations

import pytest

from peclip.results.time_axis import clock_text, time_ticks


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (4.46, "4.5 s"),
        (10, "10 s"),
        (90, "1:30"),
        (3599.6, "1:00:00"),
        (3661, "1:01:01"),
    ],
)
def test_times_as_text(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def test_ticks_are_at_round_times() -> None:
    assert time_ticks(0, 5, 6) == ([0, 1, 2, 3, 4, 5], ["0", "1", "2", "3", "4", "5"], "seconds")
    times, names, unit = time_ticks(0, 3600, 6)
    assert times == [0, 600, 1200, 1800, 2400, 3000, 3600]
    assert names[1] == "10:00"
    assert names[-1] == "1:00:00"
    assert unit == "hours:minutes:seconds"
    assert time_ticks(65.5, 200, 3)[:2] == ([120, 180], ["2:00", "3:00"])


@pytest.mark.parametrize("duration", [0.04, 0.7, 3, 59, 61, 89, 91, 700, 5000, 9e4, 4e6])
@pytest.mark.parametrize("inches", [2.0, 3.6, 7.5])
def test_ticks_have_room(duration: float, inches: float) -> None:
    times, names, _ = time_ticks(0, duration, inches)
    assert len(times) <= max(3, inches / 0.75 + 1)
    assert all(0 <= time <= duration + 1e-6 for time in times)
    assert len(set(names)) == len(names)
