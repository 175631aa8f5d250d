"""Captions: one description of the face for a whole video."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from peclip.config import ModelConfig
from peclip.data.caption_file import read_captions
from peclip.data.samples import Sample, Split
from peclip.data.streams.source import Picked, StreamSource, VideoStream, WindowStream
from peclip.errors import ConfigError
from peclip.predict_options import PredictOptions
from peclip.types import Stream

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CaptionStream(Stream):
    """One caption per video."""

    texts: tuple[str, ...]
    """B captions, empty if missing."""

    @classmethod
    def joined(cls, streams: Sequence[Self]) -> Self:
        """Returns the captions of several videos."""
        return cls(tuple(text for stream in streams for text in stream.texts))

    def prepared(self, preprocess: Callable[[Tensor], Tensor], device: torch.device) -> Self:
        """Returns the captions: the text encoder of the model reads them as they are."""
        return self

    def as_stills(self, num_frames: int) -> Self:
        """Returns the caption of every video once for each of its frames."""
        return type(self)(tuple(text for text in self.texts for _ in range(num_frames)))


class CaptionSource(StreamSource):
    """Captions of the data set in training, and of the file in `PredictOptions.captions` in prediction."""

    per_frame = False

    def check(self, train: Split, others: Sequence[Split]) -> None:
        """Checks that there is a caption to learn from.

        Raises:
            ConfigError: no training video has one.
        """
        if not train.num_captions:
            raise ConfigError(
                "The model reads captions, but none of the training videos has one. Generate "
                "captions with peclip captions and pass the file with --captions, or set "
                "model.captions to false."
            )

    def load(self, sample: Sample, picked: Picked) -> CaptionStream:
        """Returns the caption of a video."""
        return CaptionStream((sample.caption,))

    def prepare(self, options: PredictOptions) -> None:
        """Warns if no captions were given."""
        if options.captions is None:
            _log.warning(
                "This model reads captions, but none were passed (--captions FILE), so its "
                "predictions are based on the frames alone."
            )

    def predictor(self, config: ModelConfig) -> VideoStream:
        """Returns what gives all windows the caption of their video, with a warning if it has none."""
        read = lru_cache(maxsize=1)(read_captions)

        def of(source: str | Path | None, options: PredictOptions) -> WindowStream:
            captions = {} if options.captions is None else read(options.captions)
            caption = caption_of(captions, source) if captions and source else ""
            if captions and source and not caption:
                _log.warning("%s has no caption for %s.", options.captions, source)
            return lambda windows: CaptionStream((caption,) * len(windows))

        return of


def caption_of(captions: Mapping[str, str], source: str | Path) -> str:
    """Returns the caption of a video, matched by the longest end of its path, with or without suffix."""
    parts = Path(source).parts
    for start in range(len(parts)):
        end = Path(*parts[start:])
        for name in (end.as_posix(), end.with_suffix("").as_posix()):
            if captions.get(name):
                return captions[name]
    return ""
