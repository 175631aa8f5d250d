"""The interfaces of writers, and of what writers and plots read; `Prediction` imports both of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from peclip.results.rows import Row, TrackSummary

if TYPE_CHECKING:
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
