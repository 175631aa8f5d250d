"""FineCLIPER for users: it also reads face parts and captions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peclip.config import PredictOptions
from peclip.data.caption_file import read_captions
from peclip.inference.session import ScoreFn, Video
from peclip.labels import effective_prior_weight
from peclip.models.fine_cliper_config import FineCLIPERConfig
from peclip.nn.preprocess import as_tensor
from peclip.recognizers.recognizer import Recognizer
from peclip.settings import load_settings
from peclip.types import Batch
from peclip.video.drawing import draw_parts
from peclip.video.parts import PartsFinder, load_finder
from peclip.video.windows import FaceWindow

_log = logging.getLogger(__name__)


class FineCLIPER(Recognizer):
    """FineCLIPER (Chen et al., 2024): frozen CLIP with adapters for every stream of a video.

    A model with parts finds them in the face crops, with MediaPipe (`pip install 'peclip[parts]'`). A model
    with captions reads those of `PredictOptions.captions`; for a video without one, its prediction uses
    only the other streams.
    """

    architecture = "finecliper"

    config: FineCLIPERConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._finder: PartsFinder | None = None
        self._captions: tuple[Path, dict[str, str]] | None = None

    def prepare(self, options: PredictOptions) -> None:
        """Loads everything that prediction needs, so that errors are raised before a source is opened.

        Raises:
            UserError: MediaPipe or its model is missing, the captions cannot be read, or an option does
                not fit the model.
        """
        super().prepare(options)
        if self.config.reads_parts:
            self._load_finder()
        if self.config.reads_captions and options.captions is None:
            _log.warning(
                "This model reads captions, but none were given (--captions FILE): its predictions use only "
                "the frames."
            )

    def batch(self, windows: Sequence[FaceWindow]) -> Batch:
        """Returns windows as the model reads them.

        Raises:
            MissingExtraError: the model reads parts, and MediaPipe is not installed.
        """
        batch = super().batch(windows)
        if not self.config.reads_parts:
            return batch
        finder = self._load_finder()
        pictures: list[Tensor] = []
        found: list[Tensor] = []
        for window in windows:
            parts = finder.find(window.crops)
            pictures.append(as_tensor(draw_parts(parts, window.crops)))
            found.append(torch.from_numpy(parts.found))
        prepared = self.preprocess(torch.stack(pictures).to(self.device))
        return replace(batch, parts=prepared, found=torch.stack(found).to(self.device))

    def scorer(self, video: Video, options: PredictOptions) -> ScoreFn:
        """Returns the function that scores the windows of a video, with its caption.

        Raises:
            DatasetError: the file of the captions cannot be read.
            ConfigError: captions or a prior weight were given, but the model does not use them.
        """
        if not self.config.reads_captions:
            return super().scorer(video, options)
        weight = effective_prior_weight(self.config, options.prior_weight)
        caption = self._caption(video, options)

        def score(windows: Sequence[FaceWindow]) -> list[list[float]]:
            batch = self.batch(windows)
            return self.answer(replace(batch, captions=(caption,) * len(windows)), weight)

        return score

    def _load_finder(self) -> PartsFinder:
        if self._finder is None:
            self._finder = load_finder(self.config.parts_finder, settings=load_settings())
        return self._finder

    def _caption(self, video: Video, options: PredictOptions) -> str:
        """Returns the caption of a video, matched by the longest end of its path, with or without suffix."""
        if options.captions is None:
            return ""
        if self._captions is None or self._captions[0] != options.captions:
            self._captions = options.captions, read_captions(options.captions)
        captions = self._captions[1]
        if not isinstance(video, str | Path) or not str(video):
            return ""
        parts = Path(video).parts
        for start in range(len(parts)):
            end = Path(*parts[start:])
            for name in (end.as_posix(), end.with_suffix("").as_posix()):
                if captions.get(name):
                    return captions[name]
        _log.warning("%s has no caption for %s.", options.captions, video)
        return ""
