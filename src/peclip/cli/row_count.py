"""Counts the rows, videos and people of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peclip.results.rows import Row


class RowCount:
    """Counts rows as they are written."""

    def __init__(self) -> None:
        self._rows = self._sources = self._failed = self._people = 0
        self._whole_frames = False
        self._present: set[int] = set()  # in the source whose rows are being added

    def add(self, row: Row) -> None:
        """Counts one row."""
        self._rows += 1
        if row.track_id >= 0:
            self._present.add(row.track_id)
        self._whole_frames |= row.track_id < 0 and bool(row.scores)

    def end_source(self, *, failed: bool) -> None:
        """Counts the source whose rows were added last."""
        self._sources += 1
        self._failed += failed
        self._people += len(self._present)
        self._present.clear()

    def text(self, num_earlier: int = 0) -> str:
        """Returns the counts: `9 rows, 1 video, 1 person`; people only if faces were detected.

        Args:
            num_earlier: videos of earlier runs in the same files, whose rows are not counted.
        """
        if num_earlier and not self._sources:
            return f"nothing new, {number_of(num_earlier, 'video')} from earlier runs"
        parts = [number_of(self._rows, "row"), number_of(self._sources, "video")]
        if self._failed:
            parts[-1] += f" ({self._failed:,} failed)"
        if self._people or not self._whole_frames:
            parts.append(number_of(self._people, "person", "people"))
        if num_earlier:
            parts[0] = f"new: {parts[0]}"
            parts[-1] += f"; {number_of(num_earlier, 'video')} from earlier runs"
        return ", ".join(parts)


def number_of(count: int, one: str, several: str | None = None) -> str:
    """Returns a count with its noun, such as `2 videos`; the plural ends in s unless it is given."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
