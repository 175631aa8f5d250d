"""The encodings of recent frames, so that overlapping windows share them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from peclip.nn.preprocess import as_tensor

KEPT_BYTES = 64 * 2**20
"""Maximum size of the encodings in memory: 1,400 frames of `nano` with their mirror images."""


class SharedFrames:
    """Encodes each frame once, whichever windows, people and batches it is part of.

    A frame is found by a digest of its pixels, so that nobody has to name it, and no source can get the frame of
    another. A digest takes about a hundredth of the time of `nano`'s encoder.

    Args:
        kept_bytes: maximum size of the encodings in memory; those not used for longest are dropped.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept: OrderedDict[bytes, tuple[Tensor, ...]] = OrderedDict()
        self.kept_bytes, self._limit = 0, kept_bytes
        self._lock = threading.Lock()  # a model may predict in several threads

    def encode(
        self,
        windows: Sequence[NDArray[np.uint8]],
        compute: Callable[[Tensor], Sequence[Tensor]],
    ) -> list[Tensor]:
        """Returns the encoded frames of windows of the same T, one tensor (B, T, …) per view.

        Args:
            windows: crops, uint8 (T, S, S, 3) each.
            compute: pixels, uint8 (N, 3, S, S) → one tensor (N, …) per view; the same at every call.
        """
        crops = [crop for window in windows for crop in window]
        keys = [_digest(crop) for crop in crops]
        found = self._recall(dict.fromkeys(keys))
        if missing := {
            key: crop for key, crop in zip(keys, crops, strict=True) if key not in found
        }:
            views = compute(as_tensor(np.stack(list(missing.values()))))
            # Copied, because a slice would keep the whole batch in memory.
            rows = [tuple(view[row].clone() for view in views) for row in range(len(missing))]
            new = dict(zip(missing, rows, strict=True))
            self._keep(new)
            found |= new
        frames = [torch.stack(view) for view in zip(*(found[key] for key in keys), strict=True)]
        return [view.view(len(windows), -1, *view.shape[1:]) for view in frames]

    def _recall(self, keys: dict[bytes, None]) -> dict[bytes, tuple[Tensor, ...]]:
        with self._lock:
            known = [key for key in keys if key in self._kept]
            for key in known:
                self._kept.move_to_end(key)
            return {key: self._kept[key] for key in known}

    def _keep(self, new: dict[bytes, tuple[Tensor, ...]]) -> None:
        with self._lock:
            for key, encoded in new.items():
                if key not in self._kept:
                    self._kept[key] = encoded
                    self.kept_bytes += _size(encoded)
            while self.kept_bytes > self._limit:
                self.kept_bytes -= _size(self._kept.popitem(last=False)[1])


def _digest(crop: NDArray[np.uint8]) -> bytes:
    pixels = np.ascontiguousarray(crop)
    return hashlib.blake2b(pixels.data, digest_size=16).digest()


def _size(encoded: tuple[Tensor, ...]) -> int:
    return sum(view.nbytes for view in encoded)
