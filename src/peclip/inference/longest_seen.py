"""Keeps the rows of the people seen longest in a source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from peclip.results.rows import Row
from peclip.video.sighting import WHOLE_FRAME
from peclip.video.windows import FaceWindow


class LongestSeen:
    """Selects the rows of the N people seen longest; counts the omitted rows.

    The time for which a person is seen is the sum of coverage multiplied by length over the windows. Rows
    without a person are always kept. In case of a tie, the person with the lower id is kept.

    Args:
        limit: the number of people; `None` keeps all rows.
        live: decide immediately, based on the time seen so far, because the source may never end. Otherwise,
            all rows are held until `rest`, because the people seen longest are known only at the end.
    """

    def __init__(self, limit: int | None, *, live: bool = False) -> None:
        self._limit, self.live = limit, live
        self._seen_s: dict[int, float] = {}
        self._held: list[Row] = []
        self._others: set[int] = set()
        self._left_out = 0

    @property
    def metadata(self) -> dict[str, dict[str, int]]:
        """The numbers of omitted people and rows, for `Prediction.metadata`; empty without a limit."""
        if self._limit is None:
            return {}
        return {"left_out": {"people": len(self._others), "rows": self._left_out}}

    def kept(self, people: list[FaceWindow]) -> list[FaceWindow]:
        """Adds the people in one window; returns those to predict."""
        if self._limit is None:
            return people
        for person in people:
            if person.track_id != WHOLE_FRAME:
                seconds = person.coverage * (person.end_s - person.start_s)
                before = self._seen_s.get(person.track_id, 0.0)
                self._seen_s[person.track_id] = before + seconds
        if not self.live:
            return people
        chosen = self._longest()
        kept = [person for person in people if person.track_id in chosen]
        self._leave_out(person.track_id for person in people if person.track_id not in chosen)
        return kept

    def hold(self, row: Row) -> Iterator[Row]:
        """Yields a row as soon as it is known to be kept; until then, holds it."""
        if self.live or self._limit is None:
            yield row
        else:
            self._held.append(row)

    def rest(self) -> Iterator[Row]:
        """Yields the held rows at the end of the source."""
        chosen = self._longest()
        held, self._held = self._held, []
        self._leave_out(row.track_id for row in held if row.track_id not in chosen)
        yield from (row for row in held if row.track_id in chosen)

    def _leave_out(self, tracks: Iterable[int]) -> None:
        for track in tracks:
            self._left_out += 1
            self._others.add(track)

    def _longest(self) -> set[int]:
        ranked = sorted(self._seen_s, key=lambda track: (-round(self._seen_s[track], 6), track))
        return {WHOLE_FRAME, *ranked[: self._limit]}
