"""RandAugment, drawn once per video: the same operations with the same strengths in all frames.

Cubuk, Zoph, Shlens, Le: "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space", NeurIPS 2020,
arXiv 1909.13719. docs/models/augmentation.md has the table of operations, and lists the deviations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random
from typing import NamedTuple

from torch import Tensor

from peclip.data.augmentation_config import RandAugmentConfig

_HIGHEST = 10.0
_FILL = [123.0, 117.0, 104.0]
"""What comes into view: the mean colour of CLIP's images."""


class Operation(NamedTuple):
    """One operation with its strength."""

    name: str
    """One of `OPERATIONS`."""
    strength: float
    """From -1 to 1; operations without a direction use the absolute value."""


def draw_operations(config: RandAugmentConfig, random: Random) -> list[Operation]:
    """Returns the operations of a video, in their order.

    Args:
        config: number, magnitude and probability.
        random: the source of all draws.
    """
    drawn = []
    for _ in range(config.operations):
        name, applied = random.choice(list(OPERATIONS)), random.random() < config.probability
        magnitude = min(max(random.gauss(config.magnitude, config.magnitude_std), 0), _HIGHEST)
        sign = random.choice((-1, 1))
        if applied:
            drawn.append(Operation(name, sign * magnitude / _HIGHEST))
    return drawn


def apply_operation(pictures: Tensor, operation: Operation) -> Tensor:
    """Applies an operation to the pictures of a video, uint8 (N, 3, S, S), to all in the same way."""
    return OPERATIONS[operation.name](pictures, operation.strength)


def _as_one(function: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """Applies a function to all pictures as one, so that what it measures is the same for all frames."""
    N, _, S, _ = pictures.shape
    whole = function(pictures.transpose(0, 1).flatten(1, 2))  # (3, N * S, S)
    return whole.view(-1, N, S, S).transpose(0, 1).contiguous()


def _auto_contrast(pictures: Tensor, strength: float) -> Tensor:
    from torchvision.transforms.v2 import functional

    return _as_one(functional.autocontrast, pictures)


def _equalize(pictures: Tensor, strength: float) -> Tensor:
    from torchvision.transforms.v2 import functional

    return _as_one(functional.equalize, pictures)


def _contrast(pictures: Tensor, strength: float) -> Tensor:
    from torchvision.transforms.v2 import functional

    return _as_one(partial(functional.adjust_contrast, contrast_factor=_factor(strength)), pictures)


def _brightness(pictures: Tensor, strength: float) -> Tensor:
    from torchvision.transforms.v2 import functional

    changed: Tensor = functional.adjust_brightness(pictures, _factor(strength))
    return changed


def _colour(pictures: Tensor, strength: float) -> Tensor:
    from torchvision.transforms.v2 import functional

    changed: Tensor = functional.adjust_saturation(pictures, _factor(strength))
    return changed


def _sharpness(pictures: Tensor, strength: float) -> Tensor:
    from torchvision.transforms.v2 import functional

    changed: Tensor = functional.adjust_sharpness(pictures, _factor(strength))
    return changed


def _posterize(pictures: Tensor, strength: float) -> Tensor:
    kept: Tensor = pictures & (256 - 2 ** round(4 * abs(strength)))
    return kept


def _solarize(pictures: Tensor, strength: float) -> Tensor:
    threshold = round(256 * (1 - abs(strength)))
    # 256 in uint8 is 0, which would invert everything.
    return pictures if threshold > 255 else pictures.where(pictures < threshold, 255 - pictures)


def _factor(strength: float) -> float:
    return 1 + 0.9 * strength


def _moved(
    pictures: Tensor,
    *,
    angle: float = 0.0,
    shear: tuple[float, float] = (0.0, 0.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Rotates by degrees, shears by fractions, and shifts by fractions of the side."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    S = pictures.shape[-1]
    moved: Tensor = functional.affine(
        pictures,
        angle=angle,
        translate=[round(part * S) for part in shift],
        scale=1.0,
        shear=[math.degrees(math.atan(part)) for part in shear],
        interpolation=InterpolationMode.BILINEAR,
        fill=_FILL,
    )
    return moved


OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda pictures, strength: pictures,
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "rotate": lambda pictures, strength: _moved(pictures, angle=30 * strength),
    "solarize": _solarize,
    "colour": _colour,
    "posterize": _posterize,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": lambda pictures, strength: _moved(pictures, shear=(0.3 * strength, 0)),
    "shear_y": lambda pictures, strength: _moved(pictures, shear=(0, 0.3 * strength)),
    "translate_x": lambda pictures, strength: _moved(pictures, shift=(0.45 * strength, 0)),
    "translate_y": lambda pictures, strength: _moved(pictures, shift=(0, 0.45 * strength)),
}
"""Pictures and a strength → pictures; the fourteen operations of the paper."""
