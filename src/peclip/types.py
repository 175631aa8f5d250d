"""The value that every model takes and every training step passes on: a batch.

Shapes: `B` batch, `T` frames, `C` classes, `S` side of a square crop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Input of a model: videos, and the targets when they are known."""

    frames: Tensor
    """float, (B, T, 3, S, S), normalised."""
    targets: Tensor | None = None
    """float, (B, C); rows sum to one, hard labels are one-hot."""
    parts: Tensor | None = None
    """float, (B, T, 2, 3, S, S), normalised: the parsing map and the landmarks of every frame."""
    found: Tensor | None = None
    """bool, (B, T): whether a face was found in the frame; `None` without `parts`."""
    captions: tuple[str, ...] = ()
    """One caption per video, empty if missing; an empty tuple without any captions."""

    def to(self, device: torch.device) -> Batch:
        """Returns the batch with its tensors on a device."""
        return self._with_tensors(lambda tensor: tensor.to(device))

    def at(self, order: Tensor) -> Batch:
        """Selects or reorders the frames of the videos; `order` is int64 (B, T')."""

        def take(frames: Tensor) -> Tensor:  # (B, T, …) → (B, T', …)
            index = order.view(*order.shape, *[1] * (frames.ndim - 2))
            return frames.gather(1, index.expand(*order.shape, *frames.shape[2:]))

        return self._with_frames(take)

    def as_stills(self) -> Batch:
        """Returns every frame as a separate video: B*T videos of one frame."""
        repeats = self.frames.shape[1]
        captions = tuple(caption for caption in self.captions for _ in range(repeats))
        targets = None if self.targets is None else self.targets.repeat_interleave(repeats, 0)
        stills = self._with_frames(lambda frames: frames.flatten(0, 1)[:, None])
        return replace(stills, captions=captions, targets=targets)

    def mirrored(self) -> Batch:
        """Returns the mirror images of the videos."""
        parts = None if self.parts is None else self.parts.flip(-1)
        return replace(self, frames=self.frames.flip(-1), parts=parts)

    def _with_frames(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Applies a change to all per-frame tensors, (B, T, …)."""
        return replace(
            self,
            frames=change(self.frames),
            parts=None if self.parts is None else change(self.parts),
            found=None if self.found is None else change(self.found),
        )

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> Batch:
        targets = None if self.targets is None else change(self.targets)
        return replace(self._with_frames(change), targets=targets)
