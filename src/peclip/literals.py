"""The accepted values of fields and options, shared by Python, recipes and the command line."""

from __future__ import annotations

from typing import Literal

Precision = Literal["auto", "fp32", "bf16", "fp16"]
"""Precision of model computations; `auto` depends on the device."""

DetectorName = Literal["auto", "yunet", "haar"]
"""Face detectors: YuNet, OpenCV's Haar cascade, or auto: YuNet, with Haar as fallback."""

DecoderName = Literal["auto", "torchcodec", "pyav"]
"""Video decoders: torchcodec if its FFmpeg is found, else PyAV."""

EngineName = Literal["local", "ray"]
"""Execution of many predictions: in this process, or by the workers of a Ray cluster."""

RowFormat = Literal["csv", "jsonl", "json", "parquet"]
"""File formats of rows."""

FrameOrder = Literal["as-recorded", "shuffled", "reversed", "repeat-peak"]
"""Frame order in evaluation."""

ViewAverage = Literal["none", "flip"]
"""Test-time averaging in evaluation."""

Selection = Literal["val", "last", "test"]
"""Videos that select the epoch of a training."""
