"""Captions: one description of the face for a whole video."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from peclip.config import ModelConfig, PredictOptions
from peclip.data.caption_file import read_captions
from peclip.data.samples import Sample, Split
from peclip.data.streams.source import Picked, StreamPredictor, StreamSource, WindowStream
from peclip.errors import ConfigError
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
                "The model reads captions, but no training video has one. Make them with peclip captions and "
                "give the file with --captions, or set model.captions to false."
            )

    def load(self, sample: Sample, picked: Picked) -> CaptionStream:
        """Returns the caption of a video."""
        return CaptionStream((sample.caption,))

    def predictor(self, config: ModelConfig) -> CaptionPredictor:
        """Returns what finds the caption of a video."""
        return CaptionPredictor()


class CaptionPredictor(StreamPredictor):
    """Finds the caption of a video in a file, which is read once."""

    def __init__(self) -> None:
        self._read: tuple[Path, dict[str, str]] | None = None

    def prepare(self, options: PredictOptions) -> None:
        """Warns if no captions were given."""
        if options.captions is None:
            _log.warning(
                "This model reads captions, but none were given (--captions FILE): its predictions use only "
                "the frames."
            )

    def of(self, source: str | Path | None, options: PredictOptions) -> WindowStream:
        """Returns the function that gives all windows the caption of their video, with a warning if it has none.

        Raises:
            DatasetError: the file cannot be read.
        """
        text = "" if options.captions is None else self._caption(source, options.captions)
        return lambda windows: CaptionStream((text,) * len(windows))

    def _caption(self, source: str | Path | None, path: Path) -> str:
        if self._read is None or self._read[0] != path:
            self._read = path, read_captions(path)
        if source is None or not str(source):
            return ""
        caption = caption_of(self._read[1], source)
        if not caption:
            _log.warning("%s has no caption for %s.", path, source)
        return caption


def caption_of(captions: Mapping[str, str], source: str | Path) -> str:
    """Returns the caption of a video, matched by the longest end of its path, with or without suffix."""
    parts = Path(source).parts
    for start in range(len(parts)):
        end = Path(*parts[start:])
        for name in (end.as_posix(), end.with_suffix("").as_posix()):
            if captions.get(name):
                return captions[name]
    return ""
