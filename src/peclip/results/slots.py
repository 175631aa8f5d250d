"""Assigns time to windows: windows overlap, but no time may count twice."""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[float, float]
"""Start and end in seconds; the end is exclusive."""

_ROUNDING_S = 1e-5
"""Row files round to microseconds; slots closer than this adjoin."""


def time_slots(windows: Iterable[Interval]) -> dict[Interval, Interval]:
    """Returns the slot of each window of a source: the time assigned to it.

    Every instant belongs to the window that contains it and has the nearest midpoint. For windows in chronological
    order with starts s_k, ends e_k and midpoints m_k = (s_k + e_k) / 2, the slot of window k is [l_k, u_k), with

        l_k = max(s_k, min(e_(k-1), (m_(k-1) + m_k) / 2))
        u_k = min(e_k, max(s_(k+1), (m_k + m_(k+1)) / 2))

    The first slot starts with its window, and the last one ends with its window. Slots do not overlap, and together
    cover exactly the time that the windows cover; time between windows belongs to none.

    Args:
        windows: of one source; windows of length 0, which mark errors, have no slot.
    """
    ordered = sorted({(start, end) for start, end in windows if end > start})
    middles = [(start + end) / 2 for start, end in ordered]
    slots = dict[Interval, Interval]()
    reached = float("-inf")
    for k, (start, end) in enumerate(ordered):
        lower, upper = start, end
        if k > 0:
            lower = max(start, min(ordered[k - 1][1], (middles[k - 1] + middles[k]) / 2))
        if k < len(ordered) - 1:
            upper = min(end, max(ordered[k + 1][0], (middles[k] + middles[k + 1]) / 2))
        lower = max(lower, reached)  # a window inside another one; `peclip predict` makes none
        reached = max(lower, upper)
        slots[start, end] = lower, reached
    return slots


def touch(earlier: Interval, later: Interval) -> bool:
    """Returns whether a slot begins where another ends."""
    return abs(later[0] - earlier[1]) < _ROUNDING_S
