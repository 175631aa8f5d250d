"""The formats of exported models by the suffix of their files: one entry each."""

from __future__ import annotations

from typing import NamedTuple


class ExportedFormat(NamedTuple):
    """How a file is read, by functions that are named as `module:object` and imported when they are needed."""

    load: str
    """Returns the `ExportedModel`."""
    read_facts: str
    """Returns the `ExportedFacts` without loading the model."""


EXPORTED: dict[str, ExportedFormat] = {
    ".onnx": ExportedFormat("peclip.exported.onnx:load_onnx", "peclip.exported.onnx:read_facts")
}
