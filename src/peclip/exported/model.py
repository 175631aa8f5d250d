"""The predictor of every exported model: a function from crops to logits, and the facts in its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from peclip.errors import CheckpointError, ConfigError, DeviceError
from peclip.exported.facts import ExportedConfig, ExportedFacts
from peclip.inference.predictor import VideoPredictor
from peclip.inference.session import ScoreFn
from peclip.inference.source import Video
from peclip.labels import LabelSet, prior_factors
from peclip.predict_options import PredictOptions
from peclip.video.windows import FaceWindow

LogitsFn = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Crops (B, T, S, S, 3), RGB → logits (B, C): cosines divided by the temperature, the mean over mirror images."""


class ExportedModel(VideoPredictor):
    """A model from a file that `peclip export` wrote. It predicts videos without torch, and cannot be trained.

    Args:
        facts: what the file states about the model.
        logits: computes the model.
        computed_by: the program that does, and its version.
        digest: sha256 of the file.
        file: its name, for messages.
    """

    def __init__(
        self, facts: ExportedFacts, logits: LogitsFn, *, computed_by: str, digest: str, file: str
    ) -> None:
        super().__init__(facts.name, facts.revision)
        self.facts = facts
        self._logits, self._computed_by = logits, computed_by
        self._digest, self._file = digest, file

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._file!r}: {self.name!r} with {self._computed_by})"

    @property
    def config(self) -> ExportedConfig:
        """The configuration of the model."""
        return self.facts.config

    @property
    def labels(self) -> LabelSet:
        """The classes, in the order of the logits."""
        return self.config.label_set

    @property
    def texts(self) -> dict[str, str]:
        """The text that describes each label."""
        return {label: self.facts.texts[label] for label in self.labels}

    @property
    def stages_overlap(self) -> bool:
        """Whether it is faster to decode, detect and predict concurrently: threads that wait do not spin."""
        return True

    def with_labels(self, labels: Sequence[str] | Mapping[str, str]) -> ExportedModel:
        """Raises a ConfigError: the file has no text encoder."""
        raise ConfigError(
            f"{self._file!r} contains only the features of its own labels ({', '.join(self.labels)}), not the "
            "text encoder that other labels require. Use the original model, or export it with "
            "these labels: peclip export MODEL --labels LABELS -o FILE"
        )

    def computation(self) -> dict[str, str]:
        """Returns the device, the precision and the program."""
        return {"device": "cpu", "precision": "fp32", "computed_by": self._computed_by}

    def weights_sha256(self) -> str:
        """Returns the sha256 of the file."""
        return self._digest

    def scorer(self, video: Video, options: PredictOptions) -> ScoreFn:
        """Returns the function that scores the windows of a video.

        Raises:
            ConfigError: captions or a prior weight were given, but the model does not use them, or several views.
        """
        weight = self.checked_prior_weight(options)
        if options.views.number > 1:
            raise ConfigError(
                f"{self._file!r} predicts one view of a window, but tta is {options.tta}. Remove the "
                "option, or use the original model."
            )

        def score(windows: list[FaceWindow]) -> list[list[float]]:
            logits = self.logits(np.stack([window.crops for window in windows]), weight)
            powers = np.exp(logits - logits.max(1, keepdims=True))
            return [list(row) for row in (powers / powers.sum(1, keepdims=True)).tolist()]

        return score

    def logits(
        self, crops: NDArray[np.uint8], prior_weight: float | None = None
    ) -> NDArray[np.float32]:
        """Returns the logits (B, C) of crops (B, T, S, S, 3), adjusted by a prior weight unless it is `None`.

        Raises:
            ConfigError: the crops do not have the shape that the model expects.
            CheckpointError: the file does not return one row per window.
            DeviceError: the logits are NaN or infinite: the first label would be predicted.
        """
        config = self.config
        side = config.preprocess.image_size
        if crops.shape[1:] != (expected := (config.num_frames, side, side, 3)):
            raise ConfigError(
                f"The model expects windows of shape {expected}; got {crops.shape[1:]}."
            )
        logits = self._logits(crops)
        if logits.shape != (len(crops), len(self.labels)):
            raise CheckpointError(
                f"{self._file!r} returned logits of shape {logits.shape} for {len(crops)} windows and "
                f"{len(self.labels)} labels. Use a file written by peclip export."
            )
        if not np.isfinite(logits).all():
            raise DeviceError(
                f"The output of {self._file!r} is NaN or infinite, so its weights are corrupt."
            )
        if config.prior is None or config.label_frequencies is None or prior_weight is None:
            return logits
        factors = prior_factors(self.labels, config.prior, config.label_frequencies, prior_weight)
        return logits + np.log(np.asarray(factors, np.float32))
