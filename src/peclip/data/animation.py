"""Windows made from stills: a face that moves a little, in light that drifts, with an onset and an offset.

A data set of stills contains no video. A temporal model must learn from it which frames to
attend to, so some windows show the expression only for a while, between frames of a neutral face, and
everything else varies from window to window: pose, crop, light, sharpness.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from random import Random
from types import MappingProxyType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from peclip.config import PreprocessConfig
from peclip.data.animation_config import AnimateConfig as AnimateConfig
from peclip.data.dataset import Draw, VideoDataset
from peclip.data.samples import Split
from peclip.data.still_effects import Frames, degrade, move, occlude
from peclip.data.streams.source import Picked, StreamSource
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet

_NEUTRAL = "neutral"

_KEPT_BYTES = 2**30
"""Number of decoded stills that a process caches."""


class AnimatedStills(VideoDataset):
    """The stills of a split as training windows; redrawn reproducibly in every epoch.

    Args:
        split: stills; a video contributes its first frame.
        preprocess: of the model.
        num_frames: frames per window.
        seed: of everything random.
        labels: of the model.
        animate: the animation settings.
        streams: the inputs to read besides the frames, by name.

    Raises:
        ConfigError: a stream has a value for every frame.
        DatasetError: neutral frames are required, but no still is neutral.
    """

    def __init__(
        self,
        split: Split,
        preprocess: PreprocessConfig,
        num_frames: int,
        *,
        seed: int,
        labels: LabelSet,
        animate: AnimateConfig,
        streams: Mapping[str, StreamSource] = MappingProxyType({}),
    ) -> None:
        if bare := " and ".join(name for name, source in streams.items() if source.per_frame):
            raise ConfigError(
                f"The model reads {bare}, but windows generated from stills do not include them. "
                f"Remove train.animate, or set model.{bare.split()[0]} to false."
            )
        super().__init__(
            split, preprocess, num_frames, train=True, seed=seed, labels=labels, streams=streams
        )
        self._animate = animate
        # A still is read in every epoch, and also as the neutral part of other windows.
        self._kept: dict[int, Frames] = {}
        self._room = _KEPT_BYTES // (3 * self.size**2)
        self._neutral = [i for i, s in enumerate(split.samples) if s.label == _NEUTRAL]
        self._neutral_of: dict[str | None, list[int]] = defaultdict(list)
        for index in self._neutral:
            if (subject := split.samples[index].subject) is not None:
                self._neutral_of[subject].append(index)
        if animate.partial + animate.faint and not self._neutral:
            raise DatasetError(
                f"{split.title} has no still labelled {_NEUTRAL}, but train.animate needs one for "
                "the start and end of windows. Add one, or set train.animate.partial=0 and "
                "train.animate.faint=0."
            )

    def target(self, draw: Draw) -> int:
        """Returns the class of a window: neutral where the expression is too short to count."""
        return self.targets[self._neutral[0]] if self._is_faint(draw) else super().target(draw)

    def soft_target(self, draw: Draw) -> Tensor:
        """Returns the probability of every class for a window, float (C,): neutral alone where it is faint."""
        return (
            self.one_hot(self.target(draw)) if self._is_faint(draw) else super().soft_target(draw)
        )

    def _is_faint(self, draw: Draw) -> bool:
        """Returns whether the expression is too short to count."""
        return self._share(Random(self._key(draw))) < self._animate.share[0]

    def pick(self, draw: Draw) -> Picked:
        """Returns a window generated from one still; it needs no augmentation.

        Raises:
            VideoError: a still cannot be read.
        """
        random = Random(self._key(draw))
        share = self._share(random)
        face = self._still(draw.video)
        numbers = np.random.default_rng(random.getrandbits(63))
        frames = [face] * self.num_frames
        if share < 1:
            other = self._still(random.choice(self._others(draw.video)))
            weights = expression_weights(self.num_frames, share, random.random())
            frames = [_blend(face, other, weight) for weight in weights.tolist()]
        covered = occlude(frames, self._animate, numbers)
        moved = move(covered, self._animate, numbers)
        degraded = degrade(moved, self._animate, numbers)
        window = torch.from_numpy(degraded).permute(0, 3, 1, 2).contiguous()
        return Picked(window, [0] * self.num_frames, 1, lambda pictures: pictures)

    def _share(self, random: Random) -> float:
        """Draws which part of the window shows the still; the first random draw of a window.

        This includes neutral stills: if only expressive windows showed two people, the change from one
        to the other would reveal the label.
        """
        config, kind, place = self._animate, random.random(), random.random()
        if kind < config.partial + config.faint:
            low, high = config.share if kind < config.partial else config.faint_share
            return low + (high - low) * place
        return 1.0

    def _others(self, video: int) -> list[int]:
        """Returns the neutral stills that may surround a still: of the same person, if there are any."""
        subject = self.split.samples[video].subject
        own = [i for i in self._neutral_of.get(subject, ()) if i != video]
        return own or self._neutral

    def _still(self, index: int) -> Frames:
        still: Frames | None = self._kept.get(index)
        if still is None:
            still = self.crops(self.split.samples[index].source, lambda num_frames: [0])[0]
            if len(self._kept) < self._room:
                self._kept[index] = still
        return still


def _blend(face: Frames, other: Frames, weight: float) -> Frames:
    return np.asarray(cv2.addWeighted(face, weight, other, 1 - weight, 0), np.uint8)


def expression_weights(num_frames: int, share: float, place: float) -> NDArray[np.float64]:
    """Returns the intensity of the expression in every frame, (T,), from 0 to 1.

    Args:
        num_frames: T.
        share: the fraction of the window that is expressive.
        place: its position, from 0 (at the beginning) to 1 (at the end).

    Onset and offset take one frame each; the weights add up to `share * T`.
    """
    begin = place * (1 - share) * num_frames
    edges = np.arange(num_frames + 1, dtype=np.float64)
    covered = np.clip(edges, begin, begin + share * num_frames) - begin
    return np.diff(covered)
