"""The formats of `peclip export`: one entry each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from peclip.exported.facts import ExportedFacts
from peclip.exporting.onnx import write_onnx
from peclip.exporting.window_logits import WindowLogits
from peclip.literals import ExportFormat


class Format(NamedTuple):
    """How a format is written; `peclip.exported.registry.EXPORTED` reads it by its suffix."""

    suffix: str
    write: Callable[[WindowLogits, ExportedFacts, Path], None]


FORMATS: dict[ExportFormat, Format] = {"onnx": Format(".onnx", write_onnx)}
"""By name, as for `peclip export --format`."""
