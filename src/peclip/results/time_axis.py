"""Times as text, and the ticks of a time axis."""

from __future__ import annotations

import math

_STEPS_S = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400),
)
_TICK_INCHES = 0.75
_SECONDS_UNTIL = 90.0
"""Longer axes have minutes and seconds."""


def clock_text(seconds: float) -> str:
    """Returns a time as people write it: `4.5 s`, `1:05` or `1:00:05`."""
    if seconds < _SECONDS_UNTIL:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    return _clock(seconds)


def time_ticks(start: float, end: float, inches: float) -> tuple[list[float], list[str], str]:
    """Returns the times of ticks that do not overlap, their texts, and the name of the axis.

    Args:
        start: of the axis in seconds.
        end: of the axis in seconds.
        inches: length of the axis.
    """
    limit = max(2, int(inches / _TICK_INCHES))
    step = next((one for one in _STEPS_S if (end - start) / one <= limit), None)
    if step is None:
        step = math.ceil((end - start) / limit / 86400) * 86400.0
    first, last = math.ceil(start / step - 1e-9), math.floor(end / step + 1e-9)
    times = [number * step for number in range(first, last + 1)]
    if end < _SECONDS_UNTIL:
        return times, [f"{time:.1f}".removesuffix(".0") for time in times], "seconds"
    unit = "minutes:seconds" if end < 3600 else "hours:minutes:seconds"
    return times, [_clock(time) for time in times], unit


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
