"""A model that predicts videos with a network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from peclip import runtime
from peclip.config import ModelConfig
from peclip.data.streams.registry import STREAMS
from peclip.data.streams.source import VideoStream
from peclip.inference.predictor import VideoPredictor
from peclip.inference.session import ScoreFn
from peclip.inference.source import Video
from peclip.labels import LabelSet
from peclip.models.base import ExpressionModel
from peclip.models.frozen import FrozenModel
from peclip.models.loaded import LoadedModel
from peclip.models.views import views_of
from peclip.nn.preprocess import Preprocess, stack_on
from peclip.predict_options import PredictOptions
from peclip.types import Batch, Stream
from peclip.video.windows import FaceWindow

_MEMORY_ADVICE = "Use a smaller batch size (-b 1)."


class Predictor(VideoPredictor):
    """Turns videos into predictions with a network.

    Args:
        model: the network, in eval mode.
        config: its configuration.
        name: the model name in the rows.
        revision: the model revision in the rows.
        device: of the computation.
        precision: `"fp32"`, `"tf32"`, `"bf16"` or `"fp16"`.
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
        super().__init__(name, revision)
        self.device = device
        self.precision = precision
        self._frozen = FrozenModel(model, device, precision)
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

    def prepare(self, options: PredictOptions) -> None:
        """Loads everything that prediction needs, so that errors are raised before a source is opened.

        Raises:
            UserError: something cannot be loaded, or an option does not fit the model.
        """
        super().prepare(options)
        for name in self.config.streams:
            STREAMS[name].prepare(options)

    def scorer(self, video: Video, options: PredictOptions) -> ScoreFn:
        """Returns the function that scores the windows of a video, with the streams that the model reads.

        Raises:
            ConfigError: captions or a prior weight were given, but the model does not use them.
            UserError: something that a stream needs is missing.
        """
        weight, views = self.checked_prior_weight(options), options.views
        streams = self.streams(video, options)
        shares_frames = self._frozen.shares_frames and views.number == 1

        def score(windows: list[FaceWindow]) -> list[list[float]]:
            values = streams(windows)
            batch = self._encoded(windows) if shares_frames else self.batch(windows)
            seen = views_of(replace(batch, streams=values), views)
            shown = [self.probabilities(view, weight) for view in seen]
            return shown[0] if len(shown) == 1 else list(np.mean(shown, axis=0).tolist())

        return score

    def streams(
        self, video: Video, options: PredictOptions
    ) -> Callable[[Sequence[FaceWindow]], dict[str, Stream]]:
        """Returns what computes the other inputs of the model for windows of a video, ready for `Batch.streams`.

        Raises:
            UserError: something that a stream needs is missing.
        """
        for name in self.config.streams:
            if name not in self._streams:  # it may load a model
                self._streams[name] = STREAMS[name].predictor(self.config)
        source = video if isinstance(video, str | Path) else None
        streams = {name: stream(source, options) for name, stream in self._streams.items()}

        def values(windows: Sequence[FaceWindow]) -> dict[str, Stream]:
            found = {name: stream(windows) for name, stream in streams.items()}
            return {n: s.prepared(self.preprocess, self.device) for n, s in found.items()}

        return values

    def batch(self, windows: Sequence[FaceWindow]) -> Batch:
        """Returns the frames of windows as model input, without other streams."""
        return Batch(self.preprocess(stack_on(self.device, [window.crops for window in windows])))

    def _encoded(self, windows: Sequence[FaceWindow]) -> Batch:
        """As `batch`, with the frames encoded, each once for all windows."""
        with runtime.memory_errors(self.device, _MEMORY_ADVICE):
            return self._frozen.encode([window.crops for window in windows], self.preprocess)

    def probabilities(self, batch: Batch, weight: float | None = None) -> list[list[float]]:
        """Returns the probabilities of a batch on the device, with a prior weight, in label order."""
        with runtime.memory_errors(self.device, _MEMORY_ADVICE):
            return runtime.as_numbers(self._frozen(batch, weight).softmax(-1), self.precision)

    def label_features(self) -> Tensor:
        """Returns the text features (C, D), of FineCLIPER (2, C, D), computed once for a set of labels."""
        return self._frozen.label_features

    @property
    def stages_overlap(self) -> bool:
        """Whether it is faster to decode, detect and predict concurrently than in turn."""
        return runtime.stages_overlap(self.device)

    @property
    def windows_at_once(self) -> int:
        """Number of windows that are scored at once by default."""
        return runtime.windows_at_once(self.device)

    @property
    def sources_at_once(self) -> int:
        """Number of sources that are read at the same time."""
        return runtime.sources_at_once(self.device)

    def computation(self) -> dict[str, str]:
        """Returns the device and the precision."""
        return {"device": runtime.device_name(self.device), "precision": self.precision}

    def weights_sha256(self) -> str:
        """Returns the sha256 of all weights: the model in a folder may have changed under the same name."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()
