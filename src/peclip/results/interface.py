"""The interfaces of writers, and of what writers, plots and pages read; `Prediction` and `Summary` import them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from peclip.results.rows import Row, TrackSummary

if TYPE_CHECKING:
    from peclip.results.episodes import Episode
    from peclip.results.totals import Totals
    from peclip.video.face_log import FaceLog


class SourceResult(Protocol):
    """A source whose rows are complete; `Prediction` is one."""

    @property
    def source(self) -> str:
        """Name of the source."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the probability columns."""
        ...

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, in the order of time."""
        ...

    @property
    def tracks(self) -> dict[int, TrackSummary]:
        """The people of the source by their id."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Facts about the model, the source and the options; empty for rows read from files."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form."""
        ...


class LoggedResult(SourceResult, Protocol):
    """A source that can be drawn and written per frame; `Prediction` is one."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The options and facts of the prediction."""
        ...

    @property
    def main_track(self) -> TrackSummary | None:
        """The person seen for the longest time."""
        ...

    @property
    def faces(self) -> FaceLog | None:
        """The faces of each frame, if they were kept."""
        ...


KEYS = ("source", "track_id")
"""The keys of a summary's lines if there is one per person."""


class LineResult(Protocol):
    """A line of a summary; `SummaryLine` is one."""

    @property
    def keys(self) -> Mapping[str, Any]:
        """The identity of the line, by column."""
        ...

    @property
    def totals(self) -> Totals:
        """The sums over the people of the line."""
        ...


class SummaryResult(Protocol):
    """What pages show of a summary; `Summary` is one."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes."""
        ...

    @property
    def lines(self) -> Sequence[LineResult]:
        """One per person or group."""
        ...

    @property
    def episodes(self) -> Sequence[Episode]:
        """Those of all people."""
        ...


class RowWriter(Protocol):
    """Receives rows as they are computed, and the end of each source; by default ignores them."""

    def write_row(self, row: Row) -> None:
        """Receives one row; formats that write row by row flush it immediately."""
        return

    def end_source(self, prediction: SourceResult) -> None:
        """Receives the complete source after its rows, for formats that need it."""
        return

    def close(self) -> None:
        """Completes the file."""
        return
