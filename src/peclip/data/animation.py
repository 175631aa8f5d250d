"""Windows made from stills: a face that moves a little, in light that drifts, with an onset and an offset.

There is no video in a data set of stills. What a temporal model must learn from one is which frames to
listen to, so a part of the windows shows the expression only for a while, between frames of a neutral
face, and everything that is no expression differs from window to window: pose, crop, light, sharpness.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from peclip.config import Config, PreprocessConfig
from peclip.data.dataset import Draw, VideoDataset
from peclip.data.samples import Split
from peclip.errors import DatasetError
from peclip.labels import LabelSet

Frames = NDArray[np.uint8]
_NEUTRAL = "neutral"

_KEPT_BYTES = 2**30
"""Of decoded stills, which a process keeps."""


class AnimateConfig(Config):
    """How windows are made from stills. Lengths are fractions of the picture's side."""

    partial: float = Field(0.0, ge=0, le=1)
    """Probability that the still, neutral or not, fills only a part of the window, between frames of a neutral face: of
    the same person where the data set names people and has one, otherwise of anyone."""
    share: tuple[float, float] = (0.3, 1.0)
    """That part of the window, a range."""
    faint: float = Field(0.0, ge=0, le=1)
    """Probability that the part is in `faint_share` instead, and that the window is labelled neutral."""
    faint_share: tuple[float, float] = (0.03, 0.12)
    rotation: float = Field(14.0, ge=0, le=90)
    """Degrees to either side."""
    scale: float = Field(0.2, ge=0, le=1)
    """The size is multiplied by up to e to this power, either way."""
    stretch: float = Field(0.05, ge=0, le=0.5)
    """Likewise the width alone."""
    shift: float = Field(0.12, ge=0, le=0.5)
    drift: float = Field(0.5, ge=0, le=1)
    """What rotation, scale, shift and light change within a window, as a part of their range."""
    jitter: float = Field(0.01, ge=0, le=0.1)
    """Standard deviation from frame to frame of shift and scale: the unrest of a face detector."""
    flip: float = Field(0.5, ge=0, le=1)
    contrast: float = Field(0.35, ge=0, le=2)
    """Contrast is multiplied by up to e to this power, either way."""
    brightness: float = Field(30.0, ge=0, le=255)
    """Grey levels to either side."""
    blur: float = Field(0.15, ge=0, le=1)
    """Probability of a Gaussian blur of up to `blur_sigma` pixels."""
    blur_sigma: float = Field(1.0, gt=0, le=10)
    compression: float = Field(0.15, ge=0, le=1)
    """Probability of JPEG compression at a quality of 15 to 70."""
    noise: float = Field(0.15, ge=0, le=1)
    """Probability of noise with a standard deviation of up to 10 grey levels."""
    erase: float = Field(0.4, ge=0, le=1)
    """Probability that a square of 0.12 to 0.42 of the side is blanked, the same in all frames."""

    @model_validator(mode="after")
    def _check_ranges(self) -> AnimateConfig:
        for name in ("share", "faint_share"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ValueError(f"{name} is ({low}, {high}); give two numbers above 0 and up to 1")
        if self.partial + self.faint > 1:
            raise ValueError("partial and faint are probabilities of one draw, and exceed 1")
        if self.faint and self.faint_share[1] > self.share[0]:
            raise ValueError(
                f"faint_share is {self.faint_share} and share {self.share}: what is too short to count must end "
                "where what counts begins"
            )
        return self


class AnimatedStills(VideoDataset):
    """The stills of a split as windows to train on; drawn anew, and reproducibly, in every epoch.

    Args:
        split: stills; of a video the first frame is taken.
        preprocess: of the model.
        num_frames: frames per window.
        seed: of everything random.
        labels: of the model.
        animate: how.

    Raises:
        DatasetError: parts of a neutral face are asked for, and no still is neutral.
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
    ) -> None:
        super().__init__(split, preprocess, num_frames, train=True, seed=seed, labels=labels)
        self._animate = animate
        # A still is read in every epoch, and as the neutral part of other windows too.
        self._kept: dict[int, Frames] = {}
        self._room = _KEPT_BYTES // (3 * self.size**2)
        self._neutral = [i for i, s in enumerate(split.samples) if s.label == _NEUTRAL]
        self._neutral_of: dict[str | None, list[int]] = defaultdict(list)
        for index in self._neutral:
            if (subject := split.samples[index].subject) is not None:
                self._neutral_of[subject].append(index)
        if animate.partial + animate.faint and not self._neutral:
            raise DatasetError(
                f"{split.title} has no still labelled {_NEUTRAL}, and the windows are to begin and end "
                "with one. Set train.animate.partial=0 and train.animate.faint=0."
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

    def read(self, draw: Draw) -> Tensor:
        """Returns a window, uint8 (T, 3, S, S).

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
        moved = degrade(move(frames, self._animate, numbers), self._animate, numbers)
        return torch.from_numpy(moved).permute(0, 3, 1, 2).contiguous()

    def _share(self, random: Random) -> float:
        """Draws which part of the window shows the still; it is the first number drawn of a window.

        Neutral stills are no exception: were two people seen in expressive windows alone, the change from one
        to the other would give the answer away.
        """
        config, kind, place = self._animate, random.random(), random.random()
        if kind < config.partial + config.faint:
            low, high = config.share if kind < config.partial else config.faint_share
            return low + (high - low) * place
        return 1.0

    def _others(self, video: int) -> list[int]:
        """Returns the neutral stills that may stand around a still: those of the same person, where there are any."""
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
    """Returns how much of every frame is the expression, (T,) in 0 to 1.

    Args:
        num_frames: T.
        share: the part of the window that is expressive.
        place: where it lies, from 0, at the beginning, to 1, at the end.

    Onset and offset take one frame each; the weights add up to `share * T`.
    """
    begin = place * (1 - share) * num_frames
    edges = np.arange(num_frames + 1, dtype=np.float64)
    covered = np.clip(edges, begin, begin + share * num_frames) - begin
    return np.diff(covered)


def move(frames: list[Frames], config: AnimateConfig, random: np.random.Generator) -> Frames:
    """Turns, scales, shifts and mirrors the frames of a window along one smooth path.

    Args:
        frames: T of (S, S, 3).
        config: how far.
        random: draws everything.

    Returns:
        (T, S, S, 3)
    """
    T, S = len(frames), frames[0].shape[0]

    def path(spread: float, jitter: float = 0.0) -> NDArray[np.float64]:
        return _path(T, spread, config.drift, random) + jitter * random.standard_normal(T)

    angle = np.radians(path(config.rotation))
    size = np.exp(path(config.scale, config.jitter))
    width = np.exp(random.uniform(-config.stretch, config.stretch))
    x, y = path(config.shift, config.jitter), path(config.shift, config.jitter)
    mirrored = -1.0 if random.random() < config.flip else 1.0
    cos, sin, middle = np.cos(angle) / size, np.sin(angle) / size, (S - 1) / 2
    matrices = np.empty((T, 2, 3))
    matrices[:, 0, :2] = np.stack([mirrored * cos / width, -sin], -1)
    matrices[:, 1, :2] = np.stack([mirrored * sin / width, cos], -1)
    shift = S * np.stack([x, y], -1) + middle
    matrices[:, :, 2] = shift - middle * matrices[:, :, :2].sum(-1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = [
        cv2.warpAffine(frame, matrix, (S, S), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        for frame, matrix in zip(frames, matrices, strict=True)
    ]
    return np.stack(warped).astype(np.uint8, copy=False)


def degrade(frames: Frames, config: AnimateConfig, random: np.random.Generator) -> Frames:
    """Changes light and sharpness of the frames of a window, (T, S, S, 3) to the same shape."""
    T, S = frames.shape[:2]
    blur, compression, noise, erase = random.random(4)
    if blur < config.blur:
        sigma = random.uniform(0.2, 1.0) * config.blur_sigma
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
    contrast = np.exp(_path(T, config.contrast, config.drift, random))[:, None, None, None]
    light = _path(T, config.brightness, config.drift, random)[:, None, None, None]
    mean = frames.mean()
    x = (frames.astype(np.float32) - mean) * contrast.astype(np.float32) + np.float32(mean) + light
    if noise < config.noise:
        x = x + random.uniform(1, 10) * random.standard_normal((T, S, S, 1), dtype=np.float32)
    if erase < config.erase:
        side = round(S * random.uniform(0.12, 0.42))
        top, left = random.integers(0, S - side + 1, 2)
        x[:, top : top + side, left : left + side] = mean
    changed: Frames = np.clip(x, 0, 255).astype(np.uint8)
    if compression < config.compression:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(15, 71))]
        changed = np.stack([_compress(frame, quality) for frame in changed])
    return changed


def _compress(frame: Frames, quality: list[int]) -> Frames:
    _, data = cv2.imencode(".jpg", frame, quality)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _path(
    num_frames: int, spread: float, drift: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Draws a line through the window, (T,): it starts within the spread, and drifts a part of it."""
    start, slope = random.uniform(-spread, spread, 2)
    line = np.linspace(0, 1, num_frames) - 0.5
    path: NDArray[np.float64] = start + drift * slope * line
    return path
