"""Audio: the sound of a window, or of a whole video in training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from peclip.config import ModelConfig, SoundFormat
from peclip.data.samples import Sample, Split
from peclip.data.streams.source import Picked, StreamSource, VideoStream
from peclip.errors import ConfigError
from peclip.runtime import on_device
from peclip.types import Stream
from peclip.video.sound import has_sound, read_whole_sound

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AudioStream(Stream):
    """The sound of every video, mono."""

    samples: Tensor
    """float (B, N), from -1 to 1, padded with zeros."""
    lengths: tuple[int, ...]
    """Samples of each video; 0 if it has no sound, or the sound is masked."""

    @classmethod
    def of(cls, sounds: Sequence[NDArray[np.float32] | None]) -> Self:
        """Returns sounds (N,) as one batch; `None` for a video without."""
        heard = [np.zeros(0, np.float32) if sound is None else sound for sound in sounds]
        samples = torch.zeros(len(heard), max(map(len, heard), default=0))
        for row, sound in zip(samples, heard, strict=True):
            row[: len(sound)] = torch.from_numpy(sound)
        return cls(samples, tuple(map(len, heard)))

    @classmethod
    def joined(cls, streams: Sequence[Self]) -> Self:
        """Returns the sound of several videos."""
        rows = [
            row[:n].numpy() for s in streams for row, n in zip(s.samples, s.lengths, strict=True)
        ]
        return cls.of(rows)

    def prepared(self, preprocess: Callable[[Tensor], Tensor], device: torch.device) -> Self:
        """Returns the samples on a device; the model converts them."""
        return replace(self, samples=on_device(self.samples, device))

    def as_stills(self, num_frames: int) -> Self:
        """Returns the sound of every video once for each of its frames."""
        lengths = tuple(length for length in self.lengths for _ in range(num_frames))
        return type(self)(self.samples.repeat_interleave(num_frames, 0), lengths)

    def pin_memory(self) -> Self:
        """Returns a copy in pinned memory; called by torch's loader."""
        return replace(self, samples=self.samples.pin_memory())


class AudioSource(StreamSource):
    """The sound of the video in training, and of its windows in prediction (see `peclip.inference.window_sound`).

    Args:
        sound: what the model reads.
    """

    per_frame = False

    def __init__(self, sound: SoundFormat | None = None) -> None:
        self._sound = sound

    def of(self, config: ModelConfig) -> AudioSource:
        """Returns the source for a model."""
        return AudioSource(config.sound)

    def check(self, train: Split, others: Sequence[Split]) -> None:
        """Checks that there is sound to learn from.

        Raises:
            ConfigError: no training video has any.
        """
        if not any(has_sound(sample.source) for sample in train.samples):
            raise ConfigError(
                f"The model reads sound, but none of the videos in {train.title} has any. Face crops have it if they were "
                "made with peclip data prepare --sound. Use videos with sound, or set model.audio to null."
            )

    def load(self, sample: Sample, picked: Picked) -> AudioStream:
        """Returns the sound of a video from its first frame to its last, or of the middle if it is long."""
        assert self._sound is not None, "only the source of a model loads"
        sound, problem = read_whole_sound(sample.source, *self._sound)
        if problem is not None:
            lost = "its sound is not used" if sound is None else "the rest of its sound is silent"
            _log.warning("%s: %s; %s.", sample.id, problem, lost)
        return AudioStream.of([sound])

    def predictor(self, config: ModelConfig) -> VideoStream:
        """Returns what takes the sound of windows, which a session has read."""
        return lambda source, options: lambda windows: AudioStream.of([w.sound for w in windows])


def count_silent(split: Split) -> int:
    """Returns the number of videos without sound."""
    return sum(not has_sound(sample.source) for sample in split.samples)


def silent_warning(config: ModelConfig, splits: Iterable[Split]) -> str | None:
    """Returns a warning about videos without sound, for a model that reads it."""
    if config.sound is None:
        return None
    found = {split.title: (count_silent(split), len(split)) for split in splits}
    told = [f"{n:,} of the {total:,} videos in {name}" for name, (n, total) in found.items() if n]
    return f"without sound, which is masked: {', '.join(told)}" if told else None
