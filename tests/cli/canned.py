"""An engine without a model: the same rows each time, at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from peclip.engines.base import Job
from peclip.errors import UserError, VideoError
from peclip.results.prediction import Prediction
from peclip.results.rows import Row, failure_row
from peclip.video.sources import Source

LABELS = ("anger", "fear")


class CannedReading:
    """Three rows; none if the name of the source begins with `bad`, and no more if with `torn`."""

    position_s, duration_s = 0.0, None

    def __init__(self, source: str) -> None:
        self.source = source
        self.failure: UserError | None = None
        self._made: list[Row] = []
        self._metadata: dict[str, Any] = {}

    def rows(self) -> Iterator[Row]:
        if Path(self.source).name.startswith("bad"):
            self.failure = VideoError(f"{self.source} is bad.")
            self._made.append(failure_row(self.source, "canned", ""))
            yield self._made[-1]
            return
        for window in range(3):
            self._made.append(_row(self.source, window))
            yield self._made[-1]
        if Path(self.source).name.startswith("torn"):
            self.failure = VideoError(f"{self.source} is torn.")
            self._made.append(failure_row(self.source, "canned", "", self._made[-1]))
            yield self._made[-1]

    def note(self, error: str) -> None:
        self._metadata["error"] = error

    def prediction(self) -> Prediction:
        return Prediction(self.source, LABELS, tuple(self._made), dict(self._metadata))


class CannedEngine:
    """Remembers which sources it was asked for, and which of them were taken to their end."""

    def __init__(self, weights: str = "1") -> None:
        self.weights = weights
        self.asked: list[str] = []
        self.ended: list[str] = []
        self.labels = LABELS

    def describe(self) -> dict[str, Any]:
        return {"model": "canned", "device": "cpu", "precision": "fp32"}

    def fingerprint(self) -> dict[str, Any]:
        return {"model": "canned", "weights_sha256": self.weights}

    def read(self, sources: Sequence[Source]) -> Iterator[CannedReading]:
        for source in sources:
            self.asked.append(str(source.location))
            yield CannedReading(str(source.location))
            self.ended.append(str(source.location))


def opener(engine: CannedEngine) -> Callable[[Job], AbstractContextManager[CannedEngine]]:
    """Returns an entry for `ENGINES`."""

    @contextmanager
    def open_engine(job: Job) -> Iterator[CannedEngine]:
        yield engine

    return open_engine


def _row(source: str, window: int) -> Row:
    return Row(
        source=source,
        model="canned",
        model_revision="",
        track_id=0,
        window=window,
        start_s=float(window),
        end_s=window + 1.0,
        start_frame=0,
        end_frame=3,
        num_frames_used=4,
        n_faces=1,
        status="ok",
        label="anger",
        score=0.75,
        scores={"anger": 0.75, "fear": 0.25},
        face_conf=0.9,
        face_coverage=1.0,
        box=(1.0, 2.0, 3.0, 4.0),
    )
