"""The words that fields and options take, each list once: Python, recipes and the command line read it here."""

from __future__ import annotations

from typing import Literal

Precision = Literal["auto", "fp32", "bf16", "fp16"]
"""What a model computes in; `auto` depends on the device."""

DetectorName = Literal["auto", "yunet", "haar"]
"""Face detectors: YuNet, OpenCV's Haar cascade, or YuNet with Haar where it cannot be had."""

DecoderName = Literal["auto", "torchcodec", "pyav"]
"""Video decoders: torchcodec where its FFmpeg is found, else PyAV."""

EngineName = Literal["local", "ray"]
"""Where many videos are predicted: in this process, or by the workers of a Ray cluster."""

RowFormat = Literal["csv", "jsonl", "json", "parquet"]
"""Files of rows."""

FrameOrder = Literal["as-recorded", "shuffled", "reversed", "repeat-peak"]
"""What evaluation does to time."""

ViewAverage = Literal["none", "flip"]
"""What evaluation takes the mean over."""

Selection = Literal["val", "last", "test"]
"""What chooses the epoch of a training."""
