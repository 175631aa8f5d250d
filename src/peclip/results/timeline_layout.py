"""Where the parts of a timeline are."""

from __future__ import annotations

from collections.abc import Sequence

from peclip.results.lanes import Lanes

MARGIN = 0.15
LANE, _GAP, _HEAD_ABOVE = 1.2, 0.28, 0.72
_TITLE, _AXIS, LEGEND_ROW = 0.5, 0.5, 0.22
_HEAD_WIDTH, _RIGHT, _LEFT, _STILL_LEFT = 1.95, 0.32, 0.55, 1.15
_NOTE = 0.6  # instead of lanes
_NARROW = 7.0
"""Inches: the head of a lane of a narrower figure is above the lane."""
_CHARACTER = 0.075
"""Inches, of a character of the legend."""


class Layout:
    """Where everything is, in inches from the lower left corner."""

    def __init__(
        self,
        width: float,
        lanes: Lanes,
        names: Sequence[str],
        remarks: Sequence[str],
        has_title: bool,
    ) -> None:
        self.width, self.has_title = width, has_title
        self.is_narrow = width < _NARROW
        names_left = _STILL_LEFT if lanes.is_still else _LEFT
        self.left = names_left if self.is_narrow else _HEAD_WIDTH + _LEFT
        self.lane_width = width - self.left - _RIGHT
        longest = max(map(len, names), default=0)
        self.column = 0.4 + _CHARACTER * longest
        self.columns = max(1, int((width - 0.3) / self.column))
        rows = -(-len(names) // self.columns)
        self.foot = 0.1 + 0.17 * len(remarks)
        self.legend_top = self.foot + rows * LEGEND_ROW
        self._bottom = self.legend_top + (_AXIS if lanes.lanes else 0)
        self._step = LANE + _GAP + (_HEAD_ABOVE if self.is_narrow else 0)
        self._lanes = len(lanes.lanes)
        drawn = self._lanes * self._step - _GAP if lanes.lanes else _NOTE
        self.height = self._bottom + drawn
        self.height += _TITLE if has_title else 0.1

    def bottom(self, number: int) -> float:
        """Returns the lower edge of a lane, counted from the top."""
        return self._bottom + (self._lanes - 1 - number) * self._step

    def lane(self, number: int) -> tuple[float, float, float, float]:
        """Returns the place of a lane as matplotlib has it."""
        return self.part(self.left, self.bottom(number), self.lane_width, LANE)

    def part(
        self, x: float, y: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """Returns a place in parts of the figure."""
        return x / self.width, y / self.height, width / self.width, height / self.height
