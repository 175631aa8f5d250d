"""The videos of a split as tensors, opened in the worker that needs them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from peclip.config import PreprocessConfig
from peclip.data.augmentation import Augmentation, AugmentConfig
from peclip.data.samples import Split
from peclip.data.streams.source import Picked, StreamSource
from peclip.errors import VideoError
from peclip.labels import LabelSet
from peclip.types import Stream
from peclip.video.chosen_frames import read_chosen
from peclip.video.faces import resize_frame
from peclip.video.reader import open_video
from peclip.video.sampling import clip_indices, random_segment_indices


class Draw(NamedTuple):
    """One video of one epoch; it fully determines the random draws."""

    epoch: int
    video: int
    """Index in the split."""
    repeat: int = 0
    """Earlier occurrences of this video in this epoch; above 0 only with balanced sampling."""


class Item(NamedTuple):
    """One video, read."""

    crops: Tensor
    """uint8 (T, 3, S, S)."""
    target: int
    """Index in the label set of the model, for scores."""
    soft_target: Tensor
    """float (C,), the training target; sums to 1."""
    video: int
    """Index in the split."""
    streams: dict[str, Stream]
    """The other inputs by name, of this one video."""


class Unreadable(NamedTuple):
    """An unreadable video. Not an exception, because a worker's reaches the user as a traceback."""

    video: int
    """Index in the split."""
    reason: str
    """A sentence that names the video."""


class Videos(NamedTuple):
    """A few videos, before they are scaled and normalised on the device."""

    crops: Tensor
    """uint8 (B, T, 3, S, S)."""
    targets: Tensor
    """int64 (B,)."""
    soft_targets: Tensor
    """float (B, C); one-hot without votes."""
    indices: Tensor
    """int64 (B,), in the split."""
    streams: Mapping[str, Stream]
    """The other inputs by name."""


class VideoDataset(Dataset[Item | Unreadable]):
    """Reads the frames of a split's videos as whole pictures, as `predict --no-face-crop` does.

    Randomness depends only on the seed, the epoch and the video: not on the number of workers or
    machines, nor on where training was interrupted.

    Args:
        split: the videos.
        preprocess: of the model.
        num_frames: frames per video.
        train: random frames and augmentation; otherwise the middle frames of segments, unchanged.
        seed: of everything random.
        labels: of the model, which decide the targets; by default those of the split.
        augment: augmentation in training.
        streams: the inputs to read besides the frames, by name (see `peclip.data.streams.registry.sources_of`).
        clips: choices of frames outside training, read one after the other; see `clip_indices`.
    """

    def __init__(
        self,
        split: Split,
        preprocess: PreprocessConfig,
        num_frames: int,
        *,
        train: bool,
        seed: int = 0,
        labels: LabelSet | None = None,
        augment: AugmentConfig | None = None,
        streams: Mapping[str, StreamSource] = MappingProxyType({}),
        clips: int = 1,
    ) -> None:
        self.split, self._clips = split, clips
        self.streams = dict(streams)  # workers that are spawned pickle it
        self.num_frames = num_frames
        self.train = train
        self.size = preprocess.image_size
        labels = labels or split.labels
        self.num_classes = len(labels)
        self.targets = [labels.index(sample.label) for sample in split.samples]
        # An evaluation split may have votes for labels missing from the model.
        self.soft_targets = _soft_targets(split, labels) if train else None
        self._seed = seed
        # Only for training, because it imports torchvision.
        self._augmentation = Augmentation(augment or AugmentConfig(), self.size) if train else None

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, draw: Draw | int) -> Item | Unreadable:
        """Returns a video, or the reason it cannot be read."""
        draw = draw if isinstance(draw, Draw) else Draw(0, draw)
        try:
            return self.item(draw)
        except VideoError as error:
            name = f"{self.split.title}: {self.split.samples[draw.video].id}"
            return Unreadable(draw.video, f"{name} cannot be read: {error}")

    def item(self, draw: Draw) -> Item:
        """Returns a video with its target and streams.

        Raises:
            VideoError: the video or one of its streams cannot be read.
        """
        sample, picked = self.split.samples[draw.video], self.pick(draw)
        return Item(
            picked.augment(picked.crops),
            self.target(draw),
            self.soft_target(draw),
            draw.video,
            {name: source.load(sample, picked) for name, source in self.streams.items()},
        )

    def target(self, draw: Draw) -> int:
        """Returns the class of a video, in the label set of the model."""
        return self.targets[draw.video]

    def soft_target(self, draw: Draw) -> Tensor:
        """Returns the probability of every class for a video, float (C,)."""
        if self.soft_targets is None:
            return self.one_hot(self.target(draw))
        return self.soft_targets[draw.video]

    def one_hot(self, target: int) -> Tensor:
        """Returns a class as a target, float (C,)."""
        return F.one_hot(torch.tensor(target), self.num_classes).float()

    def class_counts(self) -> Tensor:
        """Returns the number of videos of each class, float (C,): with soft targets the expected number."""
        if self.soft_targets is not None:
            return self.soft_targets.sum(0)
        targets = torch.tensor(self.targets, dtype=torch.int64)
        return torch.bincount(targets, minlength=self.num_classes).float()

    def pick(self, draw: Draw) -> Picked:
        """Samples frames of a video, and an augmentation shared by all of them.

        Raises:
            VideoError: it cannot be opened, or one of its frames cannot be decoded.
        """
        random = Random()
        source = self.split.samples[draw.video].source
        chosen: list[int] = []
        total = 0

        def choose(number: int) -> list[int]:
            nonlocal total
            total = number
            random.seed(self._key(draw))  # the same draws if damage makes it choose again
            if self.train:
                chosen[:] = random_segment_indices(number, self.num_frames, random)
            else:
                chosen[:] = clip_indices(number, self.num_frames, self._clips)
            return chosen

        crops = torch.from_numpy(self.crops(source, choose)).permute(0, 3, 1, 2).contiguous()
        augmentation = self._augmentation
        if augmentation is None:
            return Picked(crops, chosen, total, lambda pictures: pictures)
        seed = random.getrandbits(63)
        return Picked(crops, chosen, total, lambda pictures: augmentation(pictures, seed))

    def crops(self, source: Path, choose: Callable[[int], list[int]]) -> NDArray[np.uint8]:
        """Returns frames of a video as squares, uint8 (T, S, S, 3).

        Args:
            source: the video.
            choose: returns the numbers of the frames, from how many there are; they may repeat. It is called again
                if damage is found while the frames are read.

        Raises:
            VideoError: it cannot be opened, or one of its frames cannot be decoded.
        """
        indices: list[int] = []
        wanted: list[int] = []

        def choose_once(number: int) -> list[int]:
            indices[:] = choose(number)
            wanted[:] = sorted(set(indices))  # a still is decoded only once
            return wanted

        with open_video(source, num_threads=1) as reader:
            frames = read_chosen(reader, choose_once).data
        squares = np.stack([resize_frame(frame, self.size) for frame in frames])
        return squares[[wanted.index(index) for index in indices]]

    def _key(self, draw: Draw) -> int:
        text = f"{self._seed}:{draw.epoch}:{draw.video}:{draw.repeat}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def collate(items: Sequence[Item | Unreadable]) -> tuple[Videos | None, list[Unreadable]]:
    """Stacks the readable videos, `None` if there are none, and returns the unreadable ones."""
    read = [item for item in items if isinstance(item, Item)]
    unreadable = [item for item in items if isinstance(item, Unreadable)]
    if not read:
        return None, unreadable
    videos = Videos(
        torch.stack([item.crops for item in read]),
        torch.tensor([item.target for item in read]),
        torch.stack([item.soft_target for item in read]),
        torch.tensor([item.video for item in read]),
        {
            name: type(stream).joined([item.streams[name] for item in read])
            for name, stream in read[0].streams.items()
        },
    )
    return videos, unreadable


def _soft_targets(split: Split, labels: LabelSet) -> Tensor | None:
    """Returns the targets of all videos, float (N, C); `None` for plain labels."""
    if not any(sample.soft_target for sample in split.samples):
        return None
    rows = [[0.0] * len(labels) for _ in split.samples]
    for row, sample in zip(rows, split.samples, strict=True):
        for name, weight in sample.soft_target or ((sample.label, 1.0),):
            row[labels.index(name)] = weight
    return torch.tensor(rows)
