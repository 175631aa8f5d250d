"""From the rows and tokens of a tower to frames and maps."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from peclip.explain.explained_window import View
from peclip.explain.explanation import Array


def as_maps(patches: Tensor, view: View) -> Tensor:
    """Maps the values of patches (T, G * G) to (T, G, G); those of a mirror image are mirrored back."""
    side = round(patches.shape[1] ** 0.5)
    maps = patches.view(-1, side, side)
    return maps.flip(-1) if view.is_mirrored else maps


def as_array(values: Tensor) -> Array:
    """Returns values as an array on the CPU."""
    return values.detach().cpu().numpy().astype(np.float64)
