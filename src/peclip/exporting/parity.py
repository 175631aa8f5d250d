"""Compares an exported model with its network on windows of noise and of a face."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from peclip.config import ModelConfig
from peclip.exported.model import ExportedModel
from peclip.models.frozen import FrozenModel
from peclip.models.loaded import LoadedModel
from peclip.nn.preprocess import as_tensor
from peclip.types import Batch

TOLERANCE = 1e-4
"""Largest accepted difference of a logit."""
BATCH_SIZES = (1, 2, 5)


def largest_difference(loaded: LoadedModel, exported: ExportedModel) -> float:
    """Returns the largest difference of a logit, over batches of several sizes; NaN if one is NaN.

    The reference is what predictions with the network use, rather than the module that was exported. A
    window that comes first in one batch and later in another also shows whether windows affect each other.

    Args:
        loaded: the network, on the CPU.
        exported: read from its file.
    """
    frozen = FrozenModel(loaded.network, torch.device("cpu"), "fp32")
    worst = [0.0]
    for windows in (noise_windows(loaded.config), face_windows(loaded.config)):
        frames = loaded.preprocess(as_tensor(windows))
        expected = frozen(Batch(frames)).numpy()
        for size in BATCH_SIZES:
            for first in (0, len(windows) - size):
                some = slice(first, first + size)
                found = exported.logits(windows[some], loaded.config.prior_weight)
                worst.append(float(np.abs(found - expected[some]).max()))
    return float(np.max(worst))


def noise_windows(config: ModelConfig) -> NDArray[np.uint8]:
    """Returns windows of independent pixels, uint8 (B, T, S, S, 3)."""
    side = config.preprocess.image_size
    shape = (max(BATCH_SIZES), config.num_frames, side, side, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def face_windows(config: ModelConfig) -> NDArray[np.uint8]:
    """Returns windows of a moving face, uint8 (B, T, S, S, 3): another order of its frames in each."""
    faces = _faces(config.preprocess.image_size)
    order = np.arange(config.num_frames)
    windows = [
        faces[(start + (-1) ** start * order) % len(faces)] for start in range(max(BATCH_SIZES))
    ]
    return np.stack(windows)


def _faces(side: int) -> NDArray[np.uint8]:
    """Returns the face crops in the package, scaled to a side."""
    return np.stack(list(_read_faces(side)))


def _read_faces(side: int) -> Iterator[NDArray[np.uint8]]:
    picture = (resources.files("peclip") / "assets" / "faces.jpg").read_bytes()
    decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None, "it is part of the package"
    strip = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    for number in range(strip.shape[1] // strip.shape[0]):
        face = strip[:, number * strip.shape[0] :][:, : strip.shape[0]]
        scaled = cv2.resize(face, (side, side), interpolation=cv2.INTER_LINEAR)
        yield scaled.astype(np.uint8, copy=False)
