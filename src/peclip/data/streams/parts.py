"""Face parts: the parsing map and the landmarks of every frame, drawn over its crop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from peclip.config import ModelConfig
from peclip.data.samples import Sample, Split
from peclip.data.streams.source import Picked, StreamSource, VideoStream
from peclip.errors import DatasetError, VideoError
from peclip.nn.preprocess import as_tensor
from peclip.settings import load_settings
from peclip.types import FrameStream
from peclip.video.drawing import draw_parts
from peclip.video.parts import load_finder, load_parts, parts_path
from peclip.video.windows import FaceWindow


@dataclass(frozen=True, eq=False)
class PartsStream(FrameStream):
    """The parsing map and the landmarks of every frame."""

    pictures: Tensor
    """(B, T, 2, 3, S, S): uint8, or float and normalised once prepared."""
    found: Tensor
    """bool (B, T): whether a face was found in the frame."""

    def prepared(self, preprocess: Callable[[Tensor], Tensor], device: torch.device) -> Self:
        """Returns the pictures normalised like the frames, on a device."""
        moved = super().prepared(preprocess, device)
        return replace(moved, pictures=preprocess(moved.pictures))

    def mirrored(self) -> Self:
        """Returns the mirror images of the pictures."""
        return replace(self, pictures=self.pictures.flip(-1))

    def with_pictures(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Returns the pictures with a change applied."""
        return replace(self, pictures=change(self.pictures))


class PartsSource(StreamSource):
    """Parts from `peclip data prepare --parts` in training, and from a finder in prediction."""

    per_frame = True

    def check(self, train: Split, others: Sequence[Split]) -> None:
        """Checks that every video has parts.

        Raises:
            DatasetError: a video has none.
        """
        for split in (train, *others):
            bare = [sample for sample in split.samples if not parts_path(sample.source).exists()]
            if bare:
                raise DatasetError(
                    f"{len(bare):,} of the {len(split):,} videos in {split.title} have no parts; "
                    f"the first one is {bare[0].id}. Extract them with: peclip data prepare "
                    "--parts mediapipe"
                )

    def load(self, sample: Sample, picked: Picked) -> PartsStream:
        """Draws the parts of the chosen frames, and augments them like the frames."""
        path = parts_path(sample.source)
        try:
            whole = load_parts(path)
        except DatasetError as error:
            raise VideoError(str(error)) from None
        if len(whole) != picked.total:
            raise VideoError(
                f"{str(path)!r} covers {len(whole)} frames, but the video has {picked.total}, so "
                "the parts were extracted from different crops. Delete the file and run: peclip "
                "data prepare --parts mediapipe"
            )
        parts = whole.at(picked.numbers)
        crops = picked.crops.movedim(-3, -1).contiguous().numpy()
        drawn = as_tensor(draw_parts(parts, crops)).contiguous()  # (T, 2, 3, S, S)
        pictures = picked.augment(drawn.flatten(0, 1)).view(drawn.shape)
        return PartsStream(pictures[None], torch.from_numpy(parts.found)[None])

    def predictor(self, config: ModelConfig) -> VideoStream:
        """Loads the finder of the model, and returns what finds the parts in crops and draws them.

        Raises:
            MissingExtraError: the package of the finder is not installed.
            WeightsError: its model is not cached and cannot be downloaded.
        """
        assert isinstance(config, ReadsParts), "a model that reads parts must name the finder"
        finder = load_finder(config.parts_finder, settings=load_settings())

        def draw(windows: Sequence[FaceWindow]) -> PartsStream:
            found = [finder.find(window.crops) for window in windows]
            drawn = [draw_parts(p, window.crops) for p, window in zip(found, windows, strict=True)]
            return PartsStream(
                torch.stack(list(map(as_tensor, drawn))),
                torch.stack([torch.from_numpy(parts.found) for parts in found]),
            )

        return lambda source, options: draw


@runtime_checkable
class ReadsParts(Protocol):
    """The configuration of a model that reads parts."""

    @property
    def parts_finder(self) -> str:
        """Name of the finder."""
        ...
