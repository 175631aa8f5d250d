"""The engines by name, as for `peclip predict --engine`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from peclip.engines.base import Engine, Job
from peclip.engines.local import open_local
from peclip.engines.ray_data import open_ray
from peclip.literals import EngineName

ENGINES: dict[EngineName, Callable[[Job], AbstractContextManager[Engine]]] = {
    "local": open_local,
    "ray": open_ray,
}
"""Context managers by engine name."""
