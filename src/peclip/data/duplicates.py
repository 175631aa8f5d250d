"""Duplicate stills across splits: a memorised training image must not be a test image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from peclip.data.config import DataConfig
from peclip.data.media import is_still
from peclip.data.samples import Sample, Split
from peclip.errors import ConfigError, DatasetError

_SIDES: dict[str, dict[str, tuple[str, ...]]] = {
    "keep": {},
    "drop_from_train": {"train": ("val", "test")},
    "drop_from_test": {"val": ("train",), "test": ("train",)},
}
"""`DataConfig.copies` → for each split, the splits whose duplicates it drops."""


def without_copies(split: Split, config: DataConfig, read: Callable[[str], Split | None]) -> Split:
    """Returns a split without the stills that also occur, by pixels, in splits on the other side.

    Args:
        split: as the data set lists it.
        config: `copies` selects the side that keeps them.
        read: returns another split by its name, `None` if the data set does not have it.

    Raises:
        ConfigError: the split `all` has no other side.
        DatasetError: it holds videos, or a still that cannot be read.
    """
    if config.copies != "keep" and split.split == "all":
        raise ConfigError(
            f"data.copies is {config.copies}, but the split 'all' contains train and test. Use "
            "another split, or set data.copies=keep."
        )
    others = _SIDES[config.copies].get(split.split, ())
    if not others:
        return split
    found = [other for other in map(read, others) if other is not None]
    if not found:
        raise ConfigError(
            f"data.copies is {config.copies}, but {split.dataset} has no {' or '.join(others)} "
            f"split to compare {split.split} with. Set data.copies=keep."
        )
    known = {digest for other in found for digest in pixel_digests(other.without_missing().samples)}
    present = split.without_missing().samples
    copies = {s for s, d in zip(present, pixel_digests(present), strict=True) if d in known}
    kept = split.with_samples(sample for sample in split.samples if sample not in copies)
    titles = " or ".join(other.title for other in found)
    note = (
        f"{split.title}: dropped {len(copies):,} of {len(split):,} images, because they are also "
        f"in {titles}."
    )
    return replace(kept, notes=(*split.notes, note))


def pixel_digests(samples: Iterable[Sample]) -> list[bytes]:
    """Returns a hash of the decoded pixels of each still; equal pictures have the same one.

    Raises:
        DatasetError: a sample is not a still, or cannot be read.
    """
    return [_digest(sample.source) for sample in samples]


def _digest(path: Path) -> bytes:
    """Returns a hash of the size and the decoded pixels of a still."""
    import cv2  # data sets are listed without them
    import numpy as np

    if not is_still(path):
        raise DatasetError(
            f"data.copies compares images, but {path} is not an image. Set data.copies=keep for videos."
        )
    try:  # the bytes are read here, because OpenCV cannot open every path on Windows
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from None
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if pixels is None:
        raise DatasetError(f"{path} cannot be read as an image. Download it again, or remove it.")
    return hashlib.sha256(f"{pixels.shape} {pixels.dtype}".encode() + pixels.tobytes()).digest()
