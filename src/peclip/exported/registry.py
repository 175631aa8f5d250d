"""The formats of exported models by the suffix of their files: one entry each."""

from __future__ import annotations

LOADERS: dict[str, str] = {".onnx": "peclip.exported.onnx:load_onnx"}
"""Function that loads such a file, as `module:object`, imported when it is needed."""
