"""The interface of every stream: where its values come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from torch import Tensor

from peclip.config import ModelConfig
from peclip.data.samples import Sample, Split
from peclip.predict_options import PredictOptions
from peclip.types import Stream
from peclip.video.windows import FaceWindow


class Picked(NamedTuple):
    """Sampled frames of a video, and the augmentation shared by all of them."""

    crops: Tensor
    """uint8 (T, 3, S, S)."""
    numbers: list[int]
    """Indices of the frames in the video."""
    total: int
    """Total frames of the video."""
    augment: Callable[[Tensor], Tensor]
    """Maps any number of such pictures to the same shape."""


WindowStream = Callable[[Sequence[FaceWindow]], Stream]
"""Windows of the same T → the values of the stream for them."""

VideoStream = Callable[[str | Path | None, PredictOptions], WindowStream]
"""A video, `None` for pixels and webcams, and the options of its prediction → the stream of its windows. It raises a
`UserError` if a file that the options name cannot be read."""


class StreamSource(ABC):
    """Where the values of one stream come from: files in training, a computation in prediction."""

    per_frame: ClassVar[bool]
    """Whether a frame has its own value, which a window made from a still lacks."""

    def check(self, train: Split, others: Sequence[Split]) -> None:  # noqa: B027 (optional)
        """Checks that the training videos have this stream. By default, it does nothing.

        Raises:
            UserError: something is missing.
        """

    def of(self, config: ModelConfig) -> StreamSource:
        """Returns the source for a model. By default, it is the same for all."""
        return self

    @abstractmethod
    def load(self, sample: Sample, picked: Picked) -> Stream:
        """Returns the values for the frames of one video: B is 1.

        Args:
            sample: the video.
            picked: its frames; pictures of a stream are augmented as they are.

        Raises:
            VideoError: the values cannot be read.
        """

    def prepare(self, options: PredictOptions) -> None:  # noqa: B027 (optional)
        """Warns about options that leave the stream empty. By default, it does nothing."""

    @abstractmethod
    def predictor(self, config: ModelConfig) -> VideoStream:
        """Returns what computes the stream in prediction. It is made once for a model, so it may load others.

        Raises:
            UserError: something that it needs is missing.
        """
