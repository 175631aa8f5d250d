"""The accepted values of fields and options, shared by Python, recipes and the command line."""

from __future__ import annotations

from typing import Literal, get_args

from peclip.errors import ConfigError, DeviceError

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
"""Precision of model computations; `auto` depends on the device."""


def check_device_name(name: str) -> None:
    """Checks the name of a device, which this machine may not have.

    Raises:
        ConfigError: it is invalid.
    """
    kind, colon, number = name.partition(":")
    # torch stores the number in 8 bits: its cuda:256 is cuda:0.
    counted = not colon or (number.isascii() and number.isdecimal() and len(number) < 10)
    known = kind in ("cpu", "cuda", "mps") and (not colon or kind == "cuda")
    if name != "auto" and not (known and counted):
        raise ConfigError(f"Invalid device {name!r}; choose auto, cpu, cuda, cuda:N or mps.")


def check_precision_name(name: str, device: str) -> None:
    """Checks the name of a precision, and that a kind of device supports it.

    Raises:
        ConfigError: the name is invalid.
        DeviceError: the device does not support it.
    """
    if name not in get_args(Precision):
        known = ", ".join(get_args(Precision)[1:])
        raise ConfigError(f"Invalid precision {name!r}; choose auto or one of {known}.")
    if name == "fp16" and device == "cpu":
        raise DeviceError("Precision fp16 is unsupported on a CPU. Use bf16 or fp32.")
    if name == "tf32" and device != "cuda":
        raise DeviceError(f"Precision tf32 is unsupported on {device}. Use fp32.")


DetectorName = Literal["auto", "yunet", "haar"]
"""Face detectors: yunet, haar (OpenCV's Haar cascade), or auto (YuNet, falling back to Haar)."""

DecoderName = Literal["auto", "torchcodec", "pyav"]
"""Video decoders; auto is PyAV. torchcodec requires an installed FFmpeg, and is no faster."""

TimeOrigin = Literal["video", "container"]
"""Where time 0 is: at the first frame, or at the start of the container (often the start of the audio)."""

Blur = Literal["others", "all"]
"""Whose faces are made unrecognisable in a video: everyone's except the main person's, or all."""

EngineName = Literal["local", "ray"]
"""Where predictions run: in this process, or on the workers of a Ray cluster."""

RowFormat = Literal[
    "csv", "jsonl", "json", "parquet", "srt", "vtt", "tsv", "textgrid", "eaf", "labelstudio"
]
"""File formats for rows and, from srt onwards, for episodes."""

ExportFormat = Literal["onnx"]
"""File formats of exported models."""

ExplainMethod = Literal[
    "leave-one-out", "gradient", "dynamic-scale", "rollout", "occlusion", "streams", "words"
]
"""Methods that explain a prediction."""

BaselineName = Literal["neutral", "median"]
"""What a person's own baseline is taken from: the most neutral windows, or all."""

FaceMeasure = Literal["size", "sharpness", "brightness", "yaw", "roll"]
"""Measures of a face for which a model has the range of its training."""

SoundUse = Literal["single", "everyone", "off"]
"""Windows whose sound is used by models that read it: those with one person, all, or none."""

FrameOrder = Literal["as-recorded", "shuffled", "reversed", "repeat-peak"]
"""Frame order in evaluation."""

ShortTraining = Literal["none", "linear", "adapters", "lora"]
"""What `peclip compare` trains."""

Selection = Literal["val", "last", "test"]
"""Videos on which the training epoch is selected."""
