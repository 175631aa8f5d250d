"""Where many sources are read: in this process, or on a Ray cluster. One protocol, one entry each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from peclip.engines.base import Engine, Job, Pool, Reading
from peclip.engines.local import local
from peclip.engines.ray_data import ray_data

ENGINES: dict[str, Callable[[Job], AbstractContextManager[Engine]]] = {
    "local": local,
    "ray": ray_data,
}
"""Context managers by the name that `peclip predict --engine` takes."""

__all__ = ["ENGINES", "Engine", "Job", "Pool", "Reading"]
