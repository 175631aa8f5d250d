"""A model that predicts videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peclip import runtime
from peclip.config import ModelConfig
from peclip.data.streams.registry import STREAMS
from peclip.data.streams.source import VideoStream
from peclip.errors import ConfigError
from peclip.inference.session import ScoreFn, Session
from peclip.inference.source import Video
from peclip.labels import LabelSet, effective_prior_weight
from peclip.models.base import ExpressionModel
from peclip.models.frozen import FrozenModel
from peclip.models.loaded import LoadedModel
from peclip.nn.preprocess import Preprocess, as_tensor
from peclip.predict_options import PredictOptions
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.settings import load_settings
from peclip.types import Batch
from peclip.video.detectors.detector import FaceDetector
from peclip.video.detectors.registry import load_detector
from peclip.video.reader import check_decoder
from peclip.video.windows import FaceWindow

DEFAULT_OPTIONS = PredictOptions()

_MEMORY_ADVICE = "Use a smaller batch size (-b 1)."


class Predictor:
    """Turns videos into predictions. Methods combine a few steps, which are also public.

    Args:
        model: the network, in eval mode.
        config: its configuration.
        name: the model name in the rows.
        revision: the model revision in the rows.
        device: of the computation.
        precision: `"fp32"`, `"bf16"` or `"fp16"`.
    """

    def __init__(
        self,
        model: ExpressionModel,
        config: ModelConfig,
        *,
        name: str = "unnamed",
        revision: str = "",
        device: torch.device,
        precision: str,
    ) -> None:
        self.loaded = LoadedModel.of(model.to(device), config)
        self.name = name
        self.revision = revision
        self.device = device
        self.precision = precision
        self._frozen = FrozenModel(model, device, precision)
        self._detectors: dict[tuple[str, float], FaceDetector] = {}
        self._streams: dict[str, VideoStream] = {}

    def __repr__(self) -> str:
        labels = f"{len(self.labels)} labels" if len(self.labels) > 12 else ", ".join(self.labels)
        return (
            f"{type(self).__name__}({self.name!r} on {self.device} in {self.precision}, backbone "
            f"{self.config.backbone}: {labels})"
        )

    @property
    def model(self) -> ExpressionModel:
        """The network."""
        return self.loaded.network

    @property
    def config(self) -> ModelConfig:
        """The configuration of the network."""
        return self.loaded.config

    @property
    def preprocess(self) -> Preprocess:
        """Normalises crops for the network."""
        return self.loaded.preprocess

    @property
    def labels(self) -> LabelSet:
        """The classes, in the order of the logits."""
        return self.model.labels

    @property
    def texts(self) -> dict[str, str]:
        """The text that describes each label."""
        return dict(zip(self.model.labels, self.model.texts, strict=True))

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
    ) -> Session:
        """Returns the session of a source: iterate over its rows, then call `prediction()`."""
        return Session(
            video,
            self.scorer(video, options),
            self.detector(options),
            config=self.config,
            labels=self.labels,
            model=(self.name, self.revision),
            options=options,
            settings=load_settings(),
            metadata=self.describe(),
            keep_rows=keep_rows,
            keep_faces=keep_faces,
            overlap=runtime.stages_overlap(self.device),
        )

    def prepare(self, options: PredictOptions) -> None:
        """Loads everything that prediction needs, so that errors are raised before a source is opened.

        Raises:
            UserError: something cannot be loaded, or an option does not fit the model.
        """
        check_decoder(options.decoder)
        self.detector(options)
        self.scorer("", options)
        for name in self.config.streams:
            STREAMS[name].prepare(options)

    def scorer(self, video: Video, options: PredictOptions) -> ScoreFn:
        """Returns the function that scores the windows of a video, with the streams that the model reads.

        Raises:
            ConfigError: captions or a prior weight were given, but the model does not use them.
            UserError: something that a stream needs is missing.
        """
        if options.captions is not None and not self.config.reads_captions:
            given = f"{self.name} does not read captions, but {str(options.captions)!r} was passed"
            raise ConfigError(
                f"{given}. Remove the captions, or use a model trained with captions."
            )
        weight = effective_prior_weight(self.config, options.prior_weight)
        for name in self.config.streams:
            if name not in self._streams:  # it may load a model
                self._streams[name] = STREAMS[name].predictor(self.config)
        source = video if isinstance(video, str | Path) else None
        streams = {name: stream(source, options) for name, stream in self._streams.items()}

        def score(windows: list[FaceWindow]) -> list[list[float]]:
            values = {name: stream(windows) for name, stream in streams.items()}
            prepared = {n: s.prepared(self.preprocess, self.device) for n, s in values.items()}
            batch = self._encoded(windows) if self._frozen.shares_frames else self.batch(windows)
            return self.probabilities(replace(batch, streams=prepared), weight)

        return score

    def detector(self, options: PredictOptions) -> FaceDetector | None:
        """Returns the face detector for some options, loaded once; `None` for whole frames.

        Raises:
            WeightsError: YuNet was requested but is unavailable.
        """
        if not options.face_crop:
            return None
        if (key := (options.detector, options.face_threshold)) not in self._detectors:
            self._detectors[key] = load_detector(
                options.detector, settings=load_settings(), threshold=options.face_threshold
            )
        return self._detectors[key]

    def batch(self, windows: Sequence[FaceWindow]) -> Batch:
        """Returns the frames of windows as model input, without other streams."""
        crops = torch.stack([as_tensor(window.crops) for window in windows])
        return Batch(self.preprocess(crops.to(self.device)))

    def _encoded(self, windows: Sequence[FaceWindow]) -> Batch:
        """As `batch`, with the frames encoded, each once for all windows."""
        with runtime.memory_errors(self.device, _MEMORY_ADVICE):
            return self._frozen.encode([window.crops for window in windows], self.preprocess)

    def score(self, windows: Sequence[FaceWindow]) -> list[list[float]]:
        """Returns the probabilities of windows of the same T, each in the order of the labels."""
        return self.scorer("", DEFAULT_OPTIONS)(list(windows))

    def probabilities(self, batch: Batch, weight: float | None = None) -> list[list[float]]:
        """Returns the probabilities of a batch on the device, with a prior weight, in label order."""
        with runtime.memory_errors(self.device, _MEMORY_ADVICE):
            return runtime.as_numbers(self._frozen(batch, weight).softmax(-1), self.precision)

    def label_features(self) -> Tensor:
        """Returns the text features (C, D), of FineCLIPER (2, C, D), computed once for a set of labels."""
        return self._frozen.label_features

    def describe(self) -> dict[str, Any]:
        """Returns a report's facts about the model: name, device, precision, preprocessing, texts."""
        return {
            "model": self.name,
            "model_revision": self.revision,
            "architecture": self.config.architecture,
            "backbone": self.config.backbone,
            "device": runtime.device_name(self.device),
            "precision": self.precision,
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
