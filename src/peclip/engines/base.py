"""Shared by the engines: the job, its readings, and the fingerprint of its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from peclip.errors import PEClipError
from peclip.inference.predictor import VideoPredictor
from peclip.labels import effective_prior_weight
from peclip.literals import Precision
from peclip.predict_options import PredictOptions
from peclip.recognizers.loading import load
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.version import VERSION
from peclip.video.sources import Source


@dataclass(frozen=True, slots=True)
class Pool:
    """The workers of a cluster. `None`: not set."""

    workers: int | None = None
    cpus: float | None = None
    """Cores per worker."""
    gpus: float | None = None
    """GPUs per worker; a fraction shares a GPU."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that determines the rows and where they are computed; picklable."""

    model: str
    device: str = "auto"
    precision: Precision = "auto"
    labels: Mapping[str, str] | None = None
    """Custom labels with their texts; `None`: the model's."""
    options: PredictOptions = field(default_factory=PredictOptions)
    pool: Pool = field(default_factory=Pool)
    keep_rows: bool = True
    """False if `Reading.prediction()` is not needed, so that memory does not grow with the source."""
    keep_faces: bool = False
    """Whether `Reading.prediction()` has the faces in each frame; `local` engine only."""

    def load(self) -> VideoPredictor:
        """Loads the model; raises as `peclip.load`."""
        recognizer = load(self.model, device=self.device, precision=self.precision)
        if self.labels is not None:
            recognizer = recognizer.with_labels(self.labels)
        recognizer.prepare(self.options)
        return recognizer


UNRELATED = frozenset({"batch_size", "stream_timeout", "reconnect"})
"""Options that do not affect the rows."""


class Reading(Protocol):
    """One source: iterate `rows()` once; then the other members are complete."""

    @property
    def position_s(self) -> float:
        """Time up to which the source was decoded, in seconds."""
        ...

    @property
    def duration_s(self) -> float | None:
        """Length of the source in seconds, if it is known."""
        ...

    @property
    def source(self) -> str:
        """The source's name in the rows."""
        ...

    @property
    def failure(self) -> PEClipError | None:
        """Why the source could not be read, or not to its end."""
        ...

    def rows(self) -> Iterator[Row]:
        """Yields the rows; an error of the source is a row."""
        ...

    def note(self, error: str) -> None:
        """Records in the metadata why the rows end."""
        ...

    def prediction(self) -> Prediction:
        """Returns the prediction from the rows so far, if they are kept."""
        ...


class Engine(Protocol):
    """Reads sources with one model."""

    @property
    def labels(self) -> Sequence[str]:
        """The classes, in the order of the probability columns."""
        ...

    def describe(self) -> dict[str, Any]:
        """Returns `VideoPredictor.describe()`."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Returns everything that determines the rows: equal only for runs that may share an output."""
        ...

    def read(self, sources: Sequence[Source]) -> Iterator[Reading]:
        """Yields one reading per source, in any order."""
        ...


def fingerprint(recognizer: VideoPredictor, options: PredictOptions) -> dict[str, Any]:
    """Returns the model, its weights, the preprocessing, the options and the version, as JSON values.

    Device, batch size and network options are excluded: a run may be resumed elsewhere.
    """
    facts = recognizer.describe()
    del facts["device"]
    detector = recognizer.detector(options)
    asked = options.model_dump(mode="json", exclude={*UNRELATED, "detector", "captions"})
    told = options.captions
    return {
        **facts,
        "weights_sha256": recognizer.weights_sha256(),
        "labels": list(recognizer.labels.names),
        "face_detector": None if detector is None else detector.name,
        **asked,
        "prior_weight": effective_prior_weight(recognizer.config, options.prior_weight),
        "captions_sha256": None if told is None else hashlib.sha256(told.read_bytes()).hexdigest(),
        "peclip_version": VERSION,
    }


def pinned(job: Job, made: Mapping[str, Any]) -> Job:
    """Returns the job with one worker's automatic choices fixed, from its `fingerprint`.

    Otherwise a worker on another GPU could compute in another precision, and one without YuNet would use the
    Haar cascade: inconsistent rows in one file.
    """
    detector = made["face_detector"]
    chosen = {} if detector is None else {"detector": detector}
    options = job.options.model_copy(update=chosen)
    return replace(job, precision=made["precision"], options=options)
