"""Maps as colours over a picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from peclip.explain.explanation import Array
from peclip.results.figures import OPPOSES, SUPPORTS, UNDIRECTED

Image = NDArray[np.uint8]

_STRONGEST = 0.75
"""Opacity of the largest value."""


def paint(picture: Image, values: Array, scale: float, *, is_directed: bool = True) -> Image:
    """Lays a map over a picture, interpolated: orange supports the label, blue opposes it, and green has no direction.

    Args:
        picture: uint8 (S, S, 3), RGB; it is shown in grey, so that only the map has colours.
        values: (G, G).
        scale: the value of the strongest colour; 0 paints nothing.
        is_directed: whether the sign of a value says what it supports.

    Returns:
        uint8 (S, S, 3).
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float64)
    if scale <= 0:
        return np.broadcast_to(grey, picture.shape).astype(np.uint8)
    size = picture.shape[1], picture.shape[0]
    fine = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR))[..., None] / scale
    colours = np.where(fine > 0, _rgb(SUPPORTS if is_directed else UNDIRECTED), _rgb(OPPOSES))
    opacity = _STRONGEST * np.clip(np.abs(fine), 0, 1)
    painted: Image = np.round(grey * (1 - opacity) + colours * opacity).astype(np.uint8)
    return painted


def strongest(values: Array | None) -> float:
    """Returns the largest absolute value, 0 for none."""
    return 0.0 if values is None or not values.size else float(np.abs(values).max())


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array(list(bytes.fromhex(colour.removeprefix("#"))), np.float64)
