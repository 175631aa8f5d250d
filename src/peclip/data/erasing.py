"""Random erasing: a rectangle of noise, at the same place and with the same noise in all frames of a video.

Zhong, Zheng, Kang, Li, Yang: "Random Erasing Data Augmentation", AAAI 2020, arXiv 1708.04896, Algorithm 1.
docs/models/augmentation.md lists the deviations.
"""

from __future__ import annotations

import math
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from peclip.data.augmentation_config import ErasingConfig

_ATTEMPTS = 100
"""Draws of a rectangle that fits; the paper draws until one does, which may be never."""


class Rectangle(NamedTuple):
    """A part of a square picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def draw_rectangle(config: ErasingConfig, size: int, random: Random) -> Rectangle | None:
    """Returns the rectangle to erase; `None` if nothing is erased.

    An area of the fraction `a` and an aspect ratio `r` give a height of `size * sqrt(a * r)` and a width of
    `size * sqrt(a / r)`, rounded; a rectangle that does not fit is drawn again.

    Args:
        config: probability and ranges; the area is uniform, and the ratio uniform on a logarithmic scale.
        size: side of the picture.
        random: the source of all draws.
    """
    if random.random() >= config.probability:
        return None
    for _ in range(_ATTEMPTS):
        area = random.uniform(*config.area)
        ratio = math.exp(random.uniform(*map(math.log, config.ratio)))
        height, width = round(size * math.sqrt(area * ratio)), round(size * math.sqrt(area / ratio))
        if 0 < height <= size and 0 < width <= size:
            top, left = random.randint(0, size - height), random.randint(0, size - width)
            return Rectangle(top, left, height, width)
    return None


def erase(pictures: Tensor, rectangle: Rectangle, seed: int) -> Tensor:
    """Returns pictures, uint8 (N, 3, S, S), in which a rectangle is noise that is the same in all of them."""
    top, left, height, width = rectangle
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    erased = pictures.clone()
    erased[:, :, top : top + height, left : left + width] = noise
    return erased
