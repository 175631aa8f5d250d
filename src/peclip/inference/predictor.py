"""A model that predicts videos, however it computes: the steps that need only its window scores."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from peclip.config import ModelConfig
from peclip.inference.session import BATCH, ScoreFn, Session
from peclip.inference.source import Video
from peclip.labels import LabelSet
from peclip.predict_options import PredictOptions
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.settings import load_settings
from peclip.video.detectors.detector import FaceDetector
from peclip.video.detectors.registry import load_detector
from peclip.video.reader import check_decoder
from peclip.video.windows import FaceWindow

DEFAULT_OPTIONS = PredictOptions()


class VideoPredictor(ABC):
    """Turns videos into predictions. Methods combine a few steps, which are also public.

    Args:
        name: the model name in the rows.
        revision: the model revision in the rows.
    """

    def __init__(self, name: str, revision: str) -> None:
        self.name = name
        self.revision = revision
        self._detectors: dict[tuple[int, str, float], FaceDetector] = {}

    @property
    @abstractmethod
    def config(self) -> ModelConfig:
        """The configuration of the model."""

    @property
    @abstractmethod
    def labels(self) -> LabelSet:
        """The classes, in the order of the probabilities."""

    @property
    @abstractmethod
    def texts(self) -> dict[str, str]:
        """The text that describes each label."""

    @property
    @abstractmethod
    def stages_overlap(self) -> bool:
        """Whether it is faster to decode, detect and predict concurrently than in turn."""

    @property
    def windows_at_once(self) -> int:
        """Number of windows that are scored at once by default."""
        return BATCH

    @property
    def sources_at_once(self) -> int:
        """Number of sources that are read at the same time."""
        return 1

    @abstractmethod
    def with_labels(self, labels: Sequence[str] | Mapping[str, str]) -> Self:
        """Returns the same model with other labels.

        Raises:
            ConfigError: the labels are invalid, or the model cannot take others.
        """

    @abstractmethod
    def scorer(self, video: Video, options: PredictOptions) -> ScoreFn:
        """Returns the function that scores the windows of a video.

        Raises:
            UserError: an option does not fit the model, or something that the model needs is missing.
        """

    @abstractmethod
    def computation(self) -> dict[str, str]:
        """Returns what the model is computed with, for `describe`: at least `device` and `precision`."""

    @abstractmethod
    def weights_sha256(self) -> str:
        """Returns the sha256 of the weights: those of a file may change under the same name."""

    def predict(self, video: Video, options: PredictOptions = DEFAULT_OPTIONS) -> Prediction:
        """Recognises the expressions of everyone in a video.

        The faces in each frame are kept for `Prediction.render` and `frame_rows`, except for live sources:
        28 bytes per frame and 24 per face.

        Args:
            video: a file, a folder of frames, an address, a webcam index, or pixels (see `Video`).
            options: windows, faces and decoding.

        Raises:
            VideoError: the source cannot be read.
        """
        session = self.open(video, options, keep_faces=True)
        for _ in session:
            pass
        return session.prediction()

    def stream(self, video: Video, options: PredictOptions = DEFAULT_OPTIONS) -> Iterator[Row]:
        """Yields rows as they are computed, with constant memory; for long videos and webcams.

        Raises:
            VideoError: the source cannot be read.
        """
        yield from self.open(video, options, keep_rows=False)

    def open(
        self,
        video: Video,
        options: PredictOptions = DEFAULT_OPTIONS,
        *,
        keep_rows: bool = True,
        keep_faces: bool = False,
        score: ScoreFn | None = None,
        name: str | None = None,
    ) -> Session:
        """Returns the session of a source: iterate over its rows, then call `prediction()`.

        With `score`, sessions in several threads share it (see `SharedScorer`). Rows and errors have the
        source's `name`, if it is given.
        """
        return Session(
            video,
            self.scorer(video, options) if score is None else score,
            self.detector(options),
            config=self.config,
            labels=self.labels,
            model=(self.name, self.revision),
            options=options,
            settings=load_settings(),
            metadata=self.describe(),
            keep_rows=keep_rows,
            keep_faces=keep_faces,
            overlap=self.stages_overlap,
            windows_at_once=self.windows_at_once,
            name=name,
        )

    def prepare(self, options: PredictOptions) -> None:
        """Loads everything that prediction needs, so that errors are raised before a source is opened.

        Raises:
            UserError: something cannot be loaded, or an option does not fit the model.
        """
        check_decoder(options.decoder)
        self.detector(options)
        self.scorer("", options)

    def checked_prior_weight(self, options: PredictOptions) -> float | None:
        """Returns the prior weight of predictions; `None` does not adjust them.

        Raises:
            ConfigError: captions, sound or a prior weight were given, but the model does not use them.
        """
        return options.prior_weight_for(self.name, self.config)

    def detector(self, options: PredictOptions) -> FaceDetector | None:
        """Returns the face detector for some options, loaded once in each thread; `None` for whole frames.

        Raises:
            WeightsError: YuNet was requested but is unavailable.
        """
        if not options.crops_faces(self.config):
            return None
        # Threads that read several sources would otherwise wait for each other's faces.
        key = (threading.get_ident(), options.detector, options.face_threshold)
        if key not in self._detectors:
            self._detectors[key] = load_detector(
                options.detector, settings=load_settings(), threshold=options.face_threshold
            )
        return self._detectors[key]

    def score(self, windows: Sequence[FaceWindow]) -> list[list[float]]:
        """Returns the probabilities of windows of the same T, each in the order of the labels."""
        return self.scorer("", DEFAULT_OPTIONS)(list(windows))

    def describe(self) -> dict[str, Any]:
        """Returns a report's facts about the model: name, device, precision, preprocessing, texts."""
        return {
            "model": self.name,
            "model_revision": self.revision,
            "architecture": self.config.architecture,
            "backbone": self.config.backbone,
            **self.computation(),
            **self.config.model_dump(
                include={
                    "num_frames",
                    "prior",
                    "label_frequencies",
                    "prior_weight",
                    "face_ranges",
                    "baselines",
                }
            ),
            "preprocessing": self.config.preprocess.model_dump(),
            "label_texts": self.texts,
        }
