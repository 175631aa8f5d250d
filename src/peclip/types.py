"""Batches and their streams, the input of every model.

Shapes: `B` batch, `T` frames, `C` classes, `S` side of a square crop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor


class Stream(ABC):
    """An additional model input besides the frames, for B videos; every method returns a modified copy.

    Each kind of stream is a module in `peclip.data.streams`, which also defines the source of its values.
    """

    @classmethod
    @abstractmethod
    def joined(cls, streams: Sequence[Self]) -> Self:
        """Returns the values of several videos as one batch."""

    @abstractmethod
    def prepared(self, preprocess: Callable[[Tensor], Tensor], device: torch.device) -> Self:
        """Returns the values as the model reads them, on a device.

        Args:
            preprocess: of the model: pixels, uint8 (…, 3, S, S) → float of the same shape.
            device: of the model.
        """

    def at(self, order: Tensor) -> Self:
        """Selects or reorders frames; `order` is int64 (B, T')."""
        return self

    @abstractmethod
    def as_stills(self, num_frames: int) -> Self:
        """Returns the values of B*T videos of one frame each; `num_frames` is T."""

    def mirrored(self) -> Self:
        """Returns the values of the mirror images."""
        return self

    def with_pictures(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Returns the values with a change, such as a crop, applied to their pictures, (…, 3, S, S), if there are any."""
        return self


@dataclass(frozen=True, eq=False)
class FrameStream(Stream):
    """A stream with a value for every frame: all fields of a subclass are tensors (B, T, …)."""

    @classmethod
    def joined(cls, streams: Sequence[Self]) -> Self:
        """Returns the values of several videos as one batch."""
        return cls(
            *map(torch.cat, zip(*(vars(stream).values() for stream in streams), strict=True))
        )

    def prepared(self, preprocess: Callable[[Tensor], Tensor], device: torch.device) -> Self:
        """Returns the values on a device, unchanged."""
        return self.changed(lambda values: values.to(device, non_blocking=True))

    def at(self, order: Tensor) -> Self:
        """Selects or reorders frames; `order` is int64 (B, T')."""
        return self.changed(lambda values: frames_at(values, order))

    def as_stills(self, num_frames: int) -> Self:
        """Returns the values of B*T videos of one frame each."""
        return self.changed(lambda values: values.flatten(0, 1)[:, None])

    @abstractmethod
    def mirrored(self) -> Self:
        """Returns the values of the mirror images."""

    def pin_memory(self) -> Self:
        """Returns a copy in pinned memory; called by torch's loader."""
        return self.changed(Tensor.pin_memory)

    def changed(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Returns the stream with a change applied to every field."""
        return type(self)(*map(change, vars(self).values()))


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Input of a model: videos, and the targets when they are known."""

    frames: Tensor
    """float, (B, T, 3, S, S), normalised; if `encoded`, (B, T, …)."""
    targets: Tensor | None = None
    """float, (B, C); rows sum to one, hard labels are one-hot."""
    streams: dict[str, Stream] = field(default_factory=dict)
    """The other inputs, by their name in `peclip.data.streams.registry.STREAMS`."""
    mirror_encoded: Tensor | None = None
    """The encoded frames of the mirror images, if `encoded`."""
    encoded: bool = False
    """Whether `frames` are the output of the model's `encode_frames`; their order is then fixed."""

    def at(self, order: Tensor) -> Batch:
        """Selects or reorders the frames of the videos; `order` is int64 (B, T')."""
        assert not self.encoded
        streams = {name: stream.at(order) for name, stream in self.streams.items()}
        return replace(self, frames=frames_at(self.frames, order), streams=streams)

    def as_stills(self) -> Batch:
        """Returns every frame as a separate video: B*T videos of one frame."""
        assert not self.encoded
        repeats = self.frames.shape[1]
        targets = None if self.targets is None else self.targets.repeat_interleave(repeats, 0)
        streams = {name: stream.as_stills(repeats) for name, stream in self.streams.items()}
        return Batch(self.frames.flatten(0, 1)[:, None], targets, streams)

    def with_pictures(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Returns the videos with a change, such as a crop, applied to all pictures, (…, 3, S, S)."""
        assert not self.encoded
        streams = {name: stream.with_pictures(change) for name, stream in self.streams.items()}
        return replace(self, frames=change(self.frames), streams=streams)

    def mirrored(self) -> Batch:
        """Returns the mirror images of the videos."""
        streams = {name: stream.mirrored() for name, stream in self.streams.items()}
        if self.encoded:
            assert self.mirror_encoded is not None
            return replace(
                self, frames=self.mirror_encoded, mirror_encoded=self.frames, streams=streams
            )
        return replace(self, frames=self.frames.flip(-1), streams=streams)


def frames_at(values: Tensor, order: Tensor) -> Tensor:
    """Selects or reorders frames: values (B, T, …) at int64 (B, T') are (B, T', …)."""
    index = order.view(*order.shape, *[1] * (values.ndim - 2))
    return values.gather(1, index.expand(*order.shape, *values.shape[2:]))
